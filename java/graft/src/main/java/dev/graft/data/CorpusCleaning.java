package dev.graft.data;

import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Cleans text for pretraining and leaves out what it has seen: each document by {@link
 * TextCleaner}, then exact duplicates by hash, then near ones by MinHash, each candidate verified
 * by the exact Jaccard similarity of the two documents. Of duplicates the first in the corpus
 * stays, so the result depends on the corpus and the options alone.
 *
 * <p>One document is in memory at a time, besides 30 to 60 bytes a kept document, and 400 to 800
 * more where near duplicates are looked for; what was kept is read again from the file it is
 * written to.
 *
 * <pre>
 *   CleaningReport report =
 *       CorpusCleaning.run(
 *           Corpus.of(files).documents(DocumentMode.JSONL), Path.of("clean.jsonl"),
 *           CleaningOptions.defaults());
 * </pre>
 */
public final class CorpusCleaning {
  private static final int BEGINNING = 80;

  private final CleaningOptions options;
  private final TextCleaner cleaner;
  private final DocumentFile out;
  private final Consumer<DroppedDocument> dropped;
  private final ExactDuplicates exact = new ExactDuplicates();
  private final NearDuplicates near;
  private final Map<DroppedDocument.Reason, Long> reasons =
      new EnumMap<>(DroppedDocument.Reason.class);

  /** The number in the corpus of each kept document. */
  private long[] numbers = new long[1024];

  private Path file;
  private final StringBuilder document = new StringBuilder();
  private long documents;
  private long read;
  private long kept;
  private long replaced;

  private CorpusCleaning(
      CleaningOptions options,
      DocumentMode mode,
      DocumentFile out,
      Consumer<DroppedDocument> dropped) {
    this.options = options;
    this.out = out;
    this.dropped = dropped;
    int newlines = mode == DocumentMode.LINE ? 0 : mode == DocumentMode.BLANK_LINE ? 1 : 2;
    cleaner = new TextCleaner(options.form(), options.keepSpaces(), newlines);
    near = options.nearDuplicates() > 0 ? new NearDuplicates(options.nearDuplicates()) : null;
  }

  /** Cleans a corpus into a file. */
  public static CleaningReport run(Corpus corpus, Path output, CleaningOptions options) {
    return run(corpus, output, options, document -> {});
  }

  /**
   * Cleans a corpus into a file: JSON Lines with the field {@code text} if it ends in .jsonl; else
   * text, documents apart as in the corpus, which then is one of lines or of blocks between blank
   * lines.
   *
   * @param corpus files
   * @param dropped told of each document left out
   * @throws InvalidInputException in one line if a file cannot be read or the output cannot hold
   *     the documents; the output then is as it was
   */
  public static CleaningReport run(
      Corpus corpus, Path output, CleaningOptions options, Consumer<DroppedDocument> dropped) {
    if (corpus.files().isEmpty()) {
      throw new IllegalArgumentException("corpus: expected files");
    }
    DocumentMode form = form(corpus, output);
    try (DocumentFile out = new DocumentFile(output, form)) {
      CorpusCleaning cleaning = new CorpusCleaning(options, corpus.documents(), out, dropped);
      for (Path file : corpus.files()) {
        cleaning.read(file, corpus);
      }
      if (out.count() == 0) {
        throw new InvalidInputException(corpus + ": no document is left of it");
      }
      out.finish();
      return cleaning.report();
    }
  }

  private static DocumentMode form(Corpus corpus, Path output) {
    for (Path file : corpus.files()) {
      try {
        if (Files.exists(output) && Files.isSameFile(file, output)) {
          throw InvalidInputException.of(output, "is a file to be cleaned; name another");
        }
      } catch (IOException e) {
        throw InvalidInputException.of(output, e);
      }
    }
    if (output.getFileName().toString().endsWith(".jsonl")) {
      return DocumentMode.JSONL;
    }
    if (corpus.documents() == DocumentMode.LINE || corpus.documents() == DocumentMode.BLANK_LINE) {
      return corpus.documents();
    }
    throw InvalidInputException.of(
        output, "documents that may hold blank lines are written as JSON Lines; name a .jsonl");
  }

  private void read(Path from, Corpus corpus) {
    file = from;
    Documents.Sink sink =
        new Documents.Sink() {
          @Override
          public void text(String piece) {
            if (document.length() + piece.length() > InputLimits.LINE) {
              throw InvalidInputException.of(
                  from,
                  "document "
                      + (documents + 1)
                      + " has more than "
                      + InputLimits.LINE
                      + " characters; tell documents apart");
            }
            document.append(piece);
          }

          @Override
          public void endOfDocument() {
            take(document.toString());
            document.setLength(0);
          }
        };
    if (options.broken() == CleaningOptions.Broken.FAIL) {
      Documents.read(List.of(from), corpus.documents(), corpus.field(), sink);
      return;
    }
    try (InputStream in = new Utf8Repair(Files.newInputStream(from))) {
      if (corpus.documents() == DocumentMode.FILE) {
        String text = new String(in.readNBytes(InputLimits.LINE), StandardCharsets.UTF_8);
        sink.text(text.startsWith("\uFEFF") ? text.substring(1) : text);
        if (in.read() >= 0) {
          sink.text(" ".repeat(InputLimits.LINE));
        }
        sink.endOfDocument();
      } else {
        Documents.read(new LineReader(in, from), corpus.documents(), corpus.field(), sink);
      }
    } catch (IOException e) {
      throw InvalidInputException.of(from, e);
    }
  }

  private void take(String text) {
    documents++;
    read += text.length();
    String whole = repair(text);
    if (whole == null) {
      drop(DroppedDocument.Reason.BROKEN_UTF8, 0, 0, text);
      return;
    }
    String clean = cleaner.clean(whole);
    if (clean.isBlank()) {
      drop(DroppedDocument.Reason.EMPTY, 0, 0, text);
      return;
    }
    if (clean.length() < options.minCharacters()
        || clean.codePointCount(0, clean.length()) < options.minCharacters()) {
      drop(DroppedDocument.Reason.TOO_SHORT, 0, 0, clean);
      return;
    }
    if (duplicate(clean)) {
      return;
    }
    if (out.count() == numbers.length) {
      numbers = Arrays.copyOf(numbers, 2 * numbers.length);
    }
    numbers[out.count()] = documents;
    out.add(clean);
    kept += clean.length();
  }

  /** Looks for it among the kept, and takes it up if it is new. */
  private boolean duplicate(String clean) {
    if (options.exactDuplicates()) {
      int same = exact.add(clean, out.count());
      if (same >= 0) {
        drop(DroppedDocument.Reason.EXACT_DUPLICATE, numbers[same], 1, clean);
        return true;
      }
    }
    if (near == null) {
      return false;
    }
    long[] set = Shingles.of(clean, options.shingle());
    if (set.length == 0) {
      near.addEmpty();
      return false;
    }
    int[] best = {-1};
    double[] most = {0};
    near.candidates(
        set,
        candidate -> {
          double similarity =
              Shingles.similarity(set, Shingles.of(out.read(candidate), options.shingle()));
          // Of equally similar ones the first in the corpus.
          if (similarity >= options.nearDuplicates() && similarity >= most[0]) {
            best[0] = similarity > most[0] ? candidate : Math.min(best[0], candidate);
            most[0] = similarity;
          }
        });
    if (best[0] >= 0) {
      drop(DroppedDocument.Reason.NEAR_DUPLICATE, numbers[best[0]], most[0], clean);
      return true;
    }
    near.addLast(set);
    return false;
  }

  private void drop(DroppedDocument.Reason reason, long of, double similarity, String text) {
    reasons.merge(reason, 1L, Long::sum);
    int end = text.length() <= BEGINNING ? text.length() : text.offsetByCodePoints(0, 40);
    dropped.accept(
        new DroppedDocument(file, documents, reason, of, similarity, text.substring(0, end)));
  }

  /** Deals with what is not Unicode; null if the document goes. */
  private String repair(String text) {
    StringBuilder fixed = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      boolean pair =
          Character.isHighSurrogate(c)
              && i + 1 < text.length()
              && Character.isLowSurrogate(text.charAt(i + 1));
      if (pair) {
        i++;
      } else if (c == Utf8Repair.MARK || Character.isSurrogate(c)) {
        switch (options.broken()) {
          case FAIL -> {
            if (Character.isSurrogate(c)) {
              throw InvalidInputException.of(
                  file, "document " + documents + " has half of a surrogate pair");
            }
            continue;
          }
          case DROP -> {
            return null;
          }
          default -> {}
        }
        fixed = fixed == null ? new StringBuilder(text) : fixed;
        fixed.setCharAt(i, '\uFFFD');
        replaced++;
      }
    }
    return fixed == null ? text : fixed.toString();
  }

  private CleaningReport report() {
    return new CleaningReport(
        documents, out.count(), Map.copyOf(reasons), read, kept, cleaner.removed(), replaced);
  }
}
