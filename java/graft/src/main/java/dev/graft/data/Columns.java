package dev.graft.data;

/**
 * Which columns (or JSON fields) of a labelled set hold what; a null is looked for by its usual
 * names.
 *
 * @param text name, or number from 0 for files without a header
 * @param secondText name or number; null for none
 * @param label name or number
 * @param header whether a CSV or TSV file begins with the names of its columns
 */
public record Columns(String text, String secondText, String label, boolean header) {
  /** Looked for by the usual names. */
  public static Columns detect() {
    return new Columns(null, null, null, true);
  }

  public static Columns of(String text, String label) {
    return new Columns(text, null, label, true);
  }
}
