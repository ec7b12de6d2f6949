package dev.graft.text;

import java.util.HashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * How often each word of a corpus occurs, in bounded memory: when a corpus has more different words
 * than are held, the rarest are forgotten. They are the ones a vocabulary is not made of.
 */
final class WordCounts {
  /** Different words held; some 1 GB of them. */
  static final int LARGEST = 1 << 23;

  /** Longer runs without a boundary (encoded binary data) are cut, so that merging them ends. */
  static final int LONGEST_WORD = 1 << 12;

  private final int largest;
  private final Map<String, long[]> counts = new HashMap<>();

  WordCounts() {
    this(LARGEST);
  }

  WordCounts(int largest) {
    this.largest = largest;
  }

  void add(String word) {
    int from = 0;
    while (word.length() - from > LONGEST_WORD) {
      int to = from + LONGEST_WORD;
      to -= Character.isHighSurrogate(word.charAt(to - 1)) ? 1 : 0;
      count(word.substring(from, to));
      from = to;
    }
    count(from == 0 ? word : word.substring(from));
  }

  private void count(String word) {
    counts.computeIfAbsent(word, w -> new long[1])[0]++;
    for (long rare = 1; counts.size() > largest; rare++) {
      long floor = rare;
      counts.values().removeIf(count -> count[0] <= floor);
    }
  }

  boolean isEmpty() {
    return counts.isEmpty();
  }

  /** In order of the words, so that no result depends on a hash table's order. */
  SortedMap<String, Long> sorted() {
    SortedMap<String, Long> sorted = new TreeMap<>();
    counts.forEach((word, count) -> sorted.put(word, count[0]));
    return sorted;
  }
}
