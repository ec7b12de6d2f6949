package dev.graft.data;

/**
 * One row of a labelled set.
 *
 * @param text the text
 * @param secondText a second text (a pair task), or null
 * @param label the name of its class, or null if it has none
 */
public record LabelledExample(String text, String secondText, String label) {
  public LabelledExample(String text, String label) {
    this(text, null, label);
  }
}
