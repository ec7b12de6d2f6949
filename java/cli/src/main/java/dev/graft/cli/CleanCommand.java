package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.CleaningOptions;
import dev.graft.data.CleaningReport;
import dev.graft.data.Corpus;
import dev.graft.data.CorpusCleaning;
import dev.graft.data.DocumentMode;
import dev.graft.data.DroppedDocument;
import dev.graft.data.TextCleaner;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft clean}. */
@Command(
    name = "clean",
    description =
        "Cleans text for pretraining and leaves out what is in it twice: one form of Unicode, no"
            + " stray control and zero-width characters, no exact and no near duplicates. Of"
            + " duplicates the first stays.",
    footer = {
      "Examples:",
      "  graft clean --input a.txt b.txt --documents blank-line --out clean.txt",
      "  graft clean --input crawl.jsonl --documents jsonl --out clean.jsonl \\",
      "      --form nfkc --near 0.7 --min-chars 200 --dropped dropped.jsonl",
      "  graft clean --input lines.txt --documents line --broken replace --near 0 --out clean.txt"
    })
final class CleanCommand extends GraftCommand {
  @Option(
      names = "--input",
      paramLabel = "FILE",
      required = true,
      arity = "1..*",
      order = 1,
      description = "Text files in UTF-8.")
  List<Path> input;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      required = true,
      order = 2,
      description =
          "What is left: JSON Lines with a field text if it ends in .jsonl, else as the input.")
  Path out;

  @Option(
      names = "--documents",
      paramLabel = "MODE",
      order = 3,
      converter = CorpusFlags.Documents.class,
      description =
          "What a document is: a whole file, a record of JSON Lines (jsonl), a block between blank"
              + " lines (blank-line) or a line (default: file).",
      defaultValue = "file")
  DocumentMode documents;

  @Option(
      names = "--field",
      paramLabel = "NAME",
      order = 4,
      description = "jsonl: the field of the text (default: ${DEFAULT-VALUE}).",
      defaultValue = "text")
  String field;

  @Option(
      names = "--form",
      paramLabel = "FORM",
      order = 5,
      description =
          "Unicode's normal form: nfc, nfkc (full-width letters, ligatures and the like become plain"
              + " ones) or none (default: ${DEFAULT-VALUE}).",
      defaultValue = "nfc")
  TextCleaner.Form form;

  @Option(
      names = "--keep-spaces",
      order = 6,
      description = "Leave runs of spaces within a line, for tables and code.")
  boolean keepSpaces;

  @Option(
      names = "--broken",
      paramLabel = "WHAT",
      order = 7,
      description =
          "Bytes that are not UTF-8: fail, replace them by U+FFFD, or drop the document (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "fail")
  CleaningOptions.Broken broken;

  @Option(
      names = "--min-chars",
      paramLabel = "N",
      order = 8,
      description = "Leave out shorter documents (default: ${DEFAULT-VALUE}).",
      defaultValue = "0")
  int minCharacters;

  @Option(names = "--keep-exact", order = 9, description = "Leave exact duplicates in.")
  boolean keepExact;

  @Option(
      names = "--near",
      paramLabel = "S",
      order = 10,
      description =
          "Jaccard similarity from which a document is a copy, 0.3 to 1; 0: near duplicates stay"
              + " (default: ${DEFAULT-VALUE}).",
      defaultValue = "0.8")
  double near;

  @Option(
      names = "--shingle",
      paramLabel = "N",
      order = 11,
      description =
          "Similarity is that of runs of so many words, or Chinese and Japanese characters (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "5")
  int shingle;

  @Option(
      names = "--report",
      paramLabel = "FILE",
      order = 12,
      description = "Write the counts as JSON.")
  Path report;

  @Option(
      names = "--dropped",
      paramLabel = "FILE",
      order = 13,
      description = "Write a JSON line for each document left out: why, of which it is a copy.")
  Path dropped;

  @Option(names = "--json", order = 950, description = "Print the counts as a JSON line.")
  boolean json;

  @Override
  public Integer call() {
    CleaningOptions options;
    try {
      options =
          new CleaningOptions(form, keepSpaces, broken, minCharacters, !keepExact, near, shingle);
    } catch (IllegalArgumentException e) {
      throw new InvalidInputException(e.getMessage());
    }
    Corpus corpus = Corpus.of(input).documents(documents).field(field);
    CleaningReport counts =
        dropped == null ? CorpusCleaning.run(corpus, out, options) : listing(corpus, options);
    ObjectNode result = counts.toJson();
    if (report != null) {
      AtomicFiles.write(report, Json.pretty(result));
    }
    if (json) {
      json(result);
    } else {
      print(counts);
    }
    return ExitCode.DONE;
  }

  private CleaningReport listing(Corpus corpus, CleaningOptions options) {
    try (BufferedWriter list = Files.newBufferedWriter(dropped)) {
      return CorpusCleaning.run(corpus, out, options, writer(list));
    } catch (UncheckedIOException e) {
      throw InvalidInputException.of(dropped, e.getCause());
    } catch (IOException e) {
      throw InvalidInputException.of(dropped, e);
    }
  }

  private static Consumer<DroppedDocument> writer(BufferedWriter list) {
    return document -> {
      ObjectNode line =
          Json.object()
              .put("file", document.file().toString())
              .put("document", document.number())
              .put("reason", name(document.reason()));
      if (document.of() > 0) {
        line.put("of", document.of()).put("similarity", document.similarity());
      }
      try {
        list.write(Json.line(line.put("text", document.text())) + "\n");
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    };
  }

  private static String name(DroppedDocument.Reason reason) {
    return reason.name().toLowerCase(Locale.ROOT);
  }

  private void print(CleaningReport counts) {
    out()
        .printf(
            "%,d of %,d documents, %,d of %,d characters kept in %s%n",
            counts.kept(),
            counts.documents(),
            counts.charactersKept(),
            counts.charactersRead(),
            out);
    for (DroppedDocument.Reason reason : DroppedDocument.Reason.values()) {
      long count = counts.dropped().getOrDefault(reason, 0L);
      if (count > 0) {
        out().printf("%,d dropped: %s%n", count, name(reason).replace('_', ' '));
      }
    }
  }
}
