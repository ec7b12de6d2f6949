package dev.graft.cli;

import dev.graft.data.Columns;
import picocli.CommandLine.Option;

/** Which columns of a labelled file hold what. */
final class ColumnFlags {
  @Option(
      names = "--text-column",
      paramLabel = "NAME",
      order = 10,
      description = "Column or field of the text (default: text, sentence and the like).")
  String text;

  @Option(
      names = "--second-text-column",
      paramLabel = "NAME",
      order = 11,
      description = "Column of a second text, for pairs (default: text_b, sentence2 if there).")
  String second;

  @Option(
      names = "--label-column",
      paramLabel = "NAME",
      order = 12,
      description =
          "Column of the label (default: label, category and the like). multi-label, regression:"
              + " several with commas between, each of 0 and 1, or of numbers.")
  String label;

  @Option(
      names = "--no-header",
      order = 13,
      description = "csv, tsv without names in the first line: columns are numbers from 0.")
  boolean noHeader;

  Columns columns() {
    return new Columns(text, second, label, !noHeader);
  }

  boolean given() {
    return text != null || second != null || label != null || noHeader;
  }
}
