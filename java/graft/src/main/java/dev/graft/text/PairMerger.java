package dev.graft.text;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;

/**
 * The loop both subword trainers share (Sennrich et al., arXiv:1508.07909): merge the most frequent
 * pair of neighbours, again and again. Pair counts are kept up to date word by word, so a merge
 * costs what it touches. Ties go to the pair of smaller ids: the result is a function of the
 * counts.
 */
final class PairMerger {
  /** Makes the token of a merged pair. */
  interface Join {
    String apply(String left, String right);
  }

  private static final class Counted {
    long count;
    int[] words = new int[4];
    int wordCount;

    void add(int word) {
      if (wordCount > 0 && words[wordCount - 1] == word) {
        return;
      }
      if (wordCount == words.length) {
        words = Arrays.copyOf(words, 2 * wordCount);
      }
      words[wordCount++] = word;
    }
  }

  private record Candidate(long pair, long count) {}

  private final List<String> tokens;
  private final Map<String, Integer> ids = new HashMap<>();
  private final List<int[]> words = new ArrayList<>();
  private final List<Long> counts = new ArrayList<>();
  private final Map<Long, Counted> pairs = new HashMap<>();

  /** Pairs the merge at hand made, queued once each when their counts are final. */
  private final Set<Long> changed = new HashSet<>();

  private final PriorityQueue<Candidate> queue =
      new PriorityQueue<>(
          (a, b) ->
              a.count() != b.count()
                  ? Long.compare(b.count(), a.count())
                  : Long.compare(a.pair(), b.pair()));

  /** {@code tokens} begins as the alphabet and grows by a token a merge. */
  PairMerger(List<String> tokens) {
    this.tokens = tokens;
    for (int i = 0; i < tokens.size(); i++) {
      ids.put(tokens.get(i), i);
    }
  }

  void addWord(List<String> symbols, long count) {
    int[] word = new int[symbols.size()];
    for (int i = 0; i < word.length; i++) {
      word[i] = ids.get(symbols.get(i));
    }
    words.add(word);
    counts.add(count);
  }

  private static long pair(int left, int right) {
    return ((long) left << 32) | right;
  }

  /**
   * Merges until there are {@code vocabSize} tokens or no pair comes {@code minFrequency} times.
   *
   * @return the merges in order
   */
  List<String[]> run(int vocabSize, long minFrequency, Join join) {
    for (int w = 0; w < words.size(); w++) {
      int[] word = words.get(w);
      for (int i = 0; i + 1 < word.length; i++) {
        Counted counted = pairs.computeIfAbsent(pair(word[i], word[i + 1]), p -> new Counted());
        counted.count += counts.get(w);
        counted.add(w);
      }
    }
    pairs.forEach((p, counted) -> queue.add(new Candidate(p, counted.count)));
    List<String[]> merges = new ArrayList<>();
    while (tokens.size() < vocabSize && !queue.isEmpty()) {
      Candidate best = queue.poll();
      Counted counted = pairs.get(best.pair());
      if (counted == null || counted.count != best.count()) {
        if (counted != null && counted.count > 0 && counted.count < best.count()) {
          queue.add(new Candidate(best.pair(), counted.count));
        }
        continue;
      }
      if (best.count() < Math.max(1, minFrequency)) {
        break;
      }
      int left = (int) (best.pair() >>> 32);
      int right = (int) best.pair();
      String joined = join.apply(tokens.get(left), tokens.get(right));
      merges.add(new String[] {tokens.get(left), tokens.get(right)});
      // Two pairs may join to one token (WordPiece: a + ##bc, ab + ##c).
      Integer known = ids.get(joined);
      int merged = known == null ? tokens.size() : known;
      if (known == null) {
        tokens.add(joined);
        ids.put(joined, merged);
      }
      pairs.remove(best.pair());
      changed.clear();
      for (int k = 0; k < counted.wordCount; k++) {
        mergeIn(counted.words[k], left, right, merged);
      }
      changed.forEach(key -> queue.add(new Candidate(key, pairs.get(key).count)));
    }
    return merges;
  }

  private void mergeIn(int w, int left, int right, int merged) {
    int[] word = words.get(w);
    int[] out = new int[word.length];
    int length = 0;
    boolean found = false;
    for (int i = 0; i < word.length; i++) {
      if (i + 1 < word.length && word[i] == left && word[i + 1] == right) {
        out[length++] = merged;
        found = true;
        i++;
      } else {
        out[length++] = word[i];
      }
    }
    if (!found) {
      return;
    }
    long count = counts.get(w);
    for (int i = 0; i + 1 < word.length; i++) {
      Counted counted = pairs.get(pair(word[i], word[i + 1]));
      if (counted != null) {
        counted.count -= count;
      }
    }
    int[] now = Arrays.copyOf(out, length);
    words.set(w, now);
    for (int i = 0; i + 1 < now.length; i++) {
      long key = pair(now[i], now[i + 1]);
      Counted counted = pairs.computeIfAbsent(key, p -> new Counted());
      counted.count += count;
      if (now[i] == merged || now[i + 1] == merged) {
        counted.add(w);
        changed.add(key);
      }
    }
  }
}
