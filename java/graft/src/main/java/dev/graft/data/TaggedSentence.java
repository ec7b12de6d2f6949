package dev.graft.data;

import java.util.List;

/**
 * A sentence in words with a tag each.
 *
 * @param words its words, none empty
 * @param tags one a word, for example {@code B-PER}, {@code I-PER}, {@code O}; null if not known
 * @param source where it came from, for messages: file and line, or empty
 */
public record TaggedSentence(List<String> words, List<String> tags, String source) {
  public TaggedSentence {
    words = List.copyOf(words);
    tags = tags == null ? null : List.copyOf(tags);
    if (tags != null && tags.size() != words.size()) {
      throw new IllegalArgumentException(
          "expected a tag a word, got " + tags.size() + " for " + words.size());
    }
  }

  public TaggedSentence(List<String> words, List<String> tags) {
    this(words, tags, "");
  }

  /** What a message begins with. */
  String at() {
    return source.isEmpty() ? "" : source + ": ";
  }
}
