package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;

/**
 * Tagged sentences from files, by their ending.
 *
 * <p>{@code .jsonl}: an object a line with {@code tokens} (or {@code words}) and {@code tags} (or
 * {@code ner_tags}, {@code labels}), two arrays of texts. Anything else is read as CoNLL's columns:
 * a word a line, the word first, its tag last, a space or tab between, an empty line behind each
 * sentence; lines that begin with {@code -DOCSTART-} are left out.
 */
public final class TaggedData {
  private static final List<String> WORDS = List.of("tokens", "words");
  private static final List<String> TAGS = List.of("tags", "ner_tags", "labels");

  private TaggedData() {}

  /**
   * Reads a file whose words all have tags.
   *
   * @throws InvalidInputException naming file, line and cause
   */
  public static List<TaggedSentence> read(Path file) {
    return read(file, true);
  }

  /** See {@link #read(Path)}. */
  public static List<TaggedSentence> read(String file) {
    return read(Path.of(file));
  }

  /** Reads the words of a file; tags need not be there and are left out. */
  public static List<TaggedSentence> readWords(Path file) {
    return read(file, false);
  }

  private static List<TaggedSentence> read(Path file, boolean tagged) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    List<TaggedSentence> sentences =
        name.endsWith(".jsonl") || name.endsWith(".ndjson")
            ? json(file, tagged)
            : columns(file, tagged);
    if (sentences.isEmpty()) {
      throw InvalidInputException.of(file, "there are no sentences in it");
    }
    return sentences;
  }

  private static List<TaggedSentence> columns(Path file, boolean tagged) {
    List<TaggedSentence> sentences = new ArrayList<>();
    try (LineReader lines = LineReader.open(file)) {
      List<String> words = new ArrayList<>();
      List<String> tags = new ArrayList<>();
      long first = 1;
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (line.isBlank() || line.startsWith("-DOCSTART-")) {
          add(sentences, file, first, words, tags, tagged);
          continue;
        }
        String[] fields = line.strip().split(line.indexOf('\t') >= 0 ? "\t" : "\\s+");
        if (tagged && fields.length < 2) {
          throw InvalidInputException.ofLine(
              file, lines.number(), "expected a word and its tag, got '" + line.strip() + "'");
        }
        String word = fields[0].strip();
        if (word.isEmpty()) {
          throw InvalidInputException.ofLine(file, lines.number(), "the word is empty");
        }
        first = words.isEmpty() ? lines.number() : first;
        words.add(word);
        tags.add(fields[fields.length - 1].strip());
      }
      add(sentences, file, first, words, tags, tagged);
    }
    return sentences;
  }

  private static void add(
      List<TaggedSentence> to,
      Path file,
      long line,
      List<String> words,
      List<String> tags,
      boolean tagged) {
    if (!words.isEmpty()) {
      to.add(new TaggedSentence(words, tagged ? tags : null, file + ": line " + line));
      words.clear();
      tags.clear();
    }
  }

  private static List<TaggedSentence> json(Path file, boolean tagged) {
    List<TaggedSentence> sentences = new ArrayList<>();
    JsonLines.forEach(
        file,
        (line, object) -> {
          List<String> words = texts(file, line, object, WORDS);
          List<String> tags = tagged ? texts(file, line, object, TAGS) : null;
          if (tagged && words.size() != tags.size()) {
            throw InvalidInputException.ofLine(
                file, line, "there are " + words.size() + " words but " + tags.size() + " tags");
          }
          if (!words.isEmpty()) {
            sentences.add(new TaggedSentence(words, tags, file + ": line " + line));
          }
        });
    return sentences;
  }

  private static List<String> texts(Path file, long line, JsonNode object, List<String> names) {
    JsonNode array = JsonLines.field(file, line, object, names);
    List<String> texts = new ArrayList<>();
    for (JsonNode text : array) {
      if (!text.isTextual() || text.asText().isBlank()) {
        throw InvalidInputException.ofLine(
            file, line, names.get(0) + ": expected texts that are not empty, got " + text);
      }
      texts.add(text.asText().strip());
    }
    if (!array.isArray()) {
      throw InvalidInputException.ofLine(file, line, names.get(0) + ": expected an array");
    }
    return texts;
  }

  /**
   * The tags of a set by id: {@code O} first, then by type, {@code B-} before {@code I-}.
   *
   * @throws InvalidInputException if there are fewer than two
   */
  public static LabelSet labels(List<TaggedSentence> sentences) {
    TreeSet<String> byType =
        new TreeSet<>(
            (a, b) -> {
              int order = type(a).compareTo(type(b));
              return order != 0 ? order : a.compareTo(b);
            });
    for (TaggedSentence sentence : sentences) {
      byType.addAll(requireTags(sentence));
    }
    if (byType.size() < 2) {
      throw new InvalidInputException(
          "the tagged sentences: expected at least two tags, got " + byType);
    }
    List<String> names = new ArrayList<>(byType);
    if (names.remove("O")) {
      names.add(0, "O");
    }
    return new LabelSet(names);
  }

  private static String type(String tag) {
    return tag.length() > 1 && tag.charAt(1) == '-' ? tag.substring(2) : tag;
  }

  static List<String> requireTags(TaggedSentence sentence) {
    if (sentence.tags() == null) {
      throw new InvalidInputException(sentence.at() + "a sentence has no tags");
    }
    return sentence.tags();
  }
}
