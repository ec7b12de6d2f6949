package dev.graft.data;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * One row of a labelled set.
 *
 * @param text the text
 * @param secondText a second text (a pair task), or null
 * @param label the name of its class, or null if it has none
 * @param cells instead, where labels have a column each: their cells by column, in order; a null
 *     where a cell is missing; otherwise empty
 * @param line where it ends in its file, from 1; 0 if it is from no file
 */
public record LabelledExample(
    String text, String secondText, String label, Map<String, String> cells, long line) {
  public LabelledExample {
    cells = cells.isEmpty() ? Map.of() : Collections.unmodifiableMap(new LinkedHashMap<>(cells));
  }

  public LabelledExample(String text, String secondText, String label, long line) {
    this(text, secondText, label, Map.of(), line);
  }

  public LabelledExample(String text, String secondText, String label) {
    this(text, secondText, label, Map.of(), 0);
  }

  public LabelledExample(String text, String label) {
    this(text, null, label, Map.of(), 0);
  }
}
