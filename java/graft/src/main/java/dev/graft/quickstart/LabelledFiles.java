package dev.graft.quickstart;

import dev.graft.data.LabelledExample;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVPrinter;

/** Labelled questions as a CSV file that the other commands read. */
final class LabelledFiles {
  private LabelledFiles() {}

  static void write(Path file, List<LabelledExample> examples) {
    StringBuilder csv = new StringBuilder();
    try (CSVPrinter printer =
        new CSVPrinter(csv, CSVFormat.RFC4180.builder().setHeader("text", "category").get())) {
      for (LabelledExample example : examples) {
        printer.printRecord(example.text(), example.label());
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    AtomicFiles.write(file, csv.toString());
  }
}
