package dev.graft.data;

/**
 * One row of a labelled set.
 *
 * @param text the text
 * @param secondText a second text (a pair task), or null
 * @param label the name of its class, or null if it has none
 * @param line where it ends in its file, from 1; 0 if it is from no file
 */
public record LabelledExample(String text, String secondText, String label, long line) {
  public LabelledExample(String text, String secondText, String label) {
    this(text, secondText, label, 0);
  }

  public LabelledExample(String text, String label) {
    this(text, null, label, 0);
  }
}
