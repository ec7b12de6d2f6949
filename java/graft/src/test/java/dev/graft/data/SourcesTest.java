package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.data.CausalSource.Packing;
import dev.graft.data.CausalSource.Sampling;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Philox;
import dev.graft.text.Encoding;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sources over a corpus of 40 documents of 1 to 60 numbered words. */
class SourcesTest {
  private static final int CONTEXT = 8;

  @TempDir Path directory;
  private Tokenizer tokenizer;
  private TokenShards shards;
  private TokenRange all;

  @BeforeEach
  void build() {
    Random random = new Random(4);
    StringBuilder text = new StringBuilder();
    for (int d = 0; d < 40; d++) {
      int words = 1 + random.nextInt(60);
      for (int w = 0; w < words; w++) {
        text.append((char) ('a' + random.nextInt(26))).append(' ');
      }
      text.append('\n');
    }
    Path corpus = TextFixtures.write(directory.resolve("corpus.txt"), text.toString());
    tokenizer = WordPieceTrainer.train(List.of(corpus), 31, 1, true);
    shards =
        TokenShards.build(
            Corpus.of(corpus).documents(DocumentMode.LINE), tokenizer, directory.resolve("s"), 100);
    all = shards.all();
  }

  @AfterEach
  void close() {
    shards.close();
    tokenizer.close();
  }

  private static String content(Batch b) {
    return b.tokens
        + Arrays.toString(Arrays.copyOf(b.inputIds, b.tokens))
        + Arrays.toString(Arrays.copyOf(b.positionIds, b.tokens))
        + Arrays.toString(Arrays.copyOf(b.tokenTypeIds, b.tokens))
        + Arrays.toString(Arrays.copyOf(b.labels, b.tokens))
        + Arrays.toString(Arrays.copyOf(b.cuSeqlens, b.sequences + 1))
        + Arrays.toString(Arrays.copyOf(b.sequenceLabels, b.sequences));
  }

  private CausalSource causal(Packing packing, Sampling sampling, long seed) {
    return new CausalSource(all, CONTEXT, 3, packing, sampling, seed);
  }

  private MaskedSource masked(boolean nextSentence, boolean shuffle, long seed) {
    return new MaskedSource(
        all, tokenizer, new Masking(tokenizer, 0.15), 16, 3, nextSentence, shuffle, seed);
  }

  private ClassificationSource classified(boolean shuffle, long seed) {
    List<Encoding> encodings = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      encodings.add(tokenizer.encode("a b c ".repeat(i % 5) + (char) ('a' + i), true));
    }
    return new ClassificationSource(encodings, IntStream.range(0, 20).toArray(), 3, shuffle, seed);
  }

  private List<BatchSource> sources(long seed) {
    return List.of(
        causal(Packing.STREAM, Sampling.RANDOM, seed),
        causal(Packing.STREAM, Sampling.EPOCH, seed),
        causal(Packing.DOCUMENT, Sampling.EPOCH, seed),
        new CausalEvalSource(all, CONTEXT, 3),
        masked(false, true, seed),
        masked(true, true, seed),
        masked(true, false, seed),
        classified(true, seed),
        classified(false, seed));
  }

  /** A run resumes exactly because a batch depends on nothing but its number. */
  @Test
  void aBatchIsAFunctionOfItsNumber() {
    List<BatchSource> first = sources(5);
    List<BatchSource> second = sources(5);
    for (int s = 0; s < first.size(); s++) {
      BatchSource a = first.get(s);
      BatchSource b = second.get(s);
      assertThat(b.fingerprint()).isEqualTo(a.fingerprint());
      long count = 3 * a.batchesPerEpoch() + 2;
      List<String> inOrder = new ArrayList<>();
      Batch batch = a.newBatch();
      for (long i = 0; i < count; i++) {
        a.fill(i, batch);
        inOrder.add(content(batch));
      }
      Batch other = b.newBatch();
      for (long i = count - 1; i >= 0; i--) {
        b.fill(i, other);
        assertThat(content(other)).as("source %d batch %d", s, i).isEqualTo(inOrder.get((int) i));
      }
      a.fill(1L << 40, batch);
      b.fill(1L << 40, other);
      assertThat(content(other)).isEqualTo(content(batch));
    }
    Set<String> fingerprints = new HashSet<>();
    first.forEach(source -> fingerprints.add(source.fingerprint()));
    assertThat(fingerprints).hasSize(first.size());
    assertThat(sources(6).get(0).fingerprint()).isNotEqualTo(first.get(0).fingerprint());
  }

  /** Targets of an epoch, as positions in the corpus found by the caller. */
  private static void window(Batch b, int s, TokenRange all, long start) {
    int length = b.cuSeqlens[s + 1] - b.cuSeqlens[s];
    for (int i = 0; i < length; i++) {
      int row = b.cuSeqlens[s] + i;
      assertThat(b.inputIds[row]).isEqualTo(all.token(start + i));
      assertThat(b.labels[row]).isEqualTo(all.token(start + i + 1));
      assertThat(b.positionIds[row]).isEqualTo(i);
    }
  }

  private static long find(Batch b, int s, TokenRange all, Set<Long> candidates) {
    int from = b.cuSeqlens[s];
    int length = b.cuSeqlens[s + 1] - from;
    for (long start : candidates) {
      boolean same = start + length < all.size();
      for (int i = 0; same && i < length; i++) {
        same =
            b.inputIds[from + i] == all.token(start + i)
                && b.labels[from + i] == all.token(start + i + 1);
      }
      if (same) {
        return start;
      }
    }
    return -1;
  }

  @Test
  void streamSeesEveryWindowOnceAnEpoch() {
    CausalSource source = new CausalSource(all, CONTEXT, 1, Packing.STREAM, Sampling.EPOCH, 3);
    long windows = (all.size() - 1) / CONTEXT;
    assertThat(source.batchesPerEpoch()).isEqualTo(windows);
    Batch batch = source.newBatch();
    List<List<Long>> orders = new ArrayList<>();
    Set<Long> offsets = new HashSet<>();
    for (int epoch = 0; epoch < 4; epoch++) {
      Set<Long> left = new HashSet<>();
      for (long start = 0; start + CONTEXT < all.size(); start++) {
        left.add(start);
      }
      List<Long> order = new ArrayList<>();
      for (long i = 0; i < windows; i++) {
        source.fill(epoch * windows + i, batch);
        assertThat(batch.liveTokens).isEqualTo(CONTEXT);
        long start = find(batch, 0, all, left);
        assertThat(start).isNotNegative();
        window(batch, 0, all, start);
        // No other window of this epoch overlaps it.
        for (long s = start - CONTEXT + 1; s < start + CONTEXT; s++) {
          left.remove(s);
        }
        order.add(start);
      }
      offsets.add(order.get(0) % CONTEXT);
      order.forEach(start -> assertThat(start % CONTEXT).isEqualTo(order.get(0) % CONTEXT));
      orders.add(order);
    }
    assertThat(new HashSet<>(orders)).hasSize(4);
    assertThat(offsets.size()).isGreaterThan((all.size() - 1) % CONTEXT == 0 ? 0 : 1);
  }

  @Test
  void documentsPredictEveryTokenButTheirFirstAndNoneAcross() {
    CausalSource source = new CausalSource(all, CONTEXT, 1, Packing.DOCUMENT, Sampling.EPOCH, 3);
    Map<Long, Integer> documentOf = new HashMap<>();
    Set<Long> wanted = new HashSet<>();
    for (int d = 0; d < shards.documents(); d++) {
      for (long t = shards.documentStart(d); t < shards.documentStart(d + 1); t++) {
        documentOf.put(t, d);
        if (t > shards.documentStart(d)) {
          wanted.add(t);
        }
      }
    }
    Set<Long> starts = new HashSet<>(documentOf.keySet());
    Batch batch = source.newBatch();
    long pieces = source.batchesPerEpoch();
    int predicted = 0;
    for (long i = 0; i < pieces; i++) {
      source.fill(i, batch);
      assertThat(batch.liveSequences).isEqualTo(1);
      long start = findDocumentPiece(batch, starts, documentOf);
      window(batch, 0, all, start);
      for (int t = 0; t <= batch.liveTokens; t++) {
        assertThat(documentOf.get(start + t)).isEqualTo(documentOf.get(start));
      }
      predicted += batch.liveTokens;
    }
    assertThat(predicted).isEqualTo(wanted.size());
  }

  /** Pieces start at their document's first token or a multiple of the context behind it. */
  private long findDocumentPiece(Batch batch, Set<Long> starts, Map<Long, Integer> documentOf) {
    Set<Long> possible = new HashSet<>();
    for (long start : starts) {
      Integer document = documentOf.get(start);
      if ((start - shards.documentStart(document)) % CONTEXT == 0
          && document.equals(documentOf.get(start + batch.liveTokens))
          && (batch.liveTokens == CONTEXT
              || start + batch.liveTokens + 1 == shards.documentStart(document + 1))) {
        possible.add(start);
      }
    }
    long start = find(batch, 0, all, possible);
    assertThat(start).isNotNegative();
    starts.remove(start);
    return start;
  }

  @Test
  void randomWindowsReachBothEnds() {
    TokenRange small = new TokenRange(shards, 5, 5 + CONTEXT + 4);
    CausalSource source = new CausalSource(small, CONTEXT, 4, Packing.STREAM, Sampling.RANDOM, 1);
    Batch batch = source.newBatch();
    Set<Long> seen = new HashSet<>();
    for (int i = 0; i < 60; i++) {
      source.fill(i, batch);
      for (int s = 0; s < batch.liveSequences; s++) {
        long start = find(batch, s, small, Set.of(0L, 1L, 2L, 3L));
        assertThat(start).isNotNegative();
        seen.add(start);
      }
    }
    assertThat(seen).containsExactlyInAnyOrder(0L, 1L, 2L, 3L);
  }

  @Test
  void evaluationPredictsEveryTokenOnce() {
    for (int size : new int[] {2, CONTEXT, CONTEXT + 1, CONTEXT + 2, 3 * CONTEXT + 1, 100}) {
      TokenRange range = new TokenRange(shards, 3, 3 + size);
      CausalEvalSource source = new CausalEvalSource(range, CONTEXT, 3);
      Batch batch = source.newBatch();
      List<Integer> targets = new ArrayList<>();
      for (long i = 0; i < source.batchesPerEpoch(); i++) {
        source.fill(i, batch);
        for (int row = 0; row < batch.liveTokens; row++) {
          targets.add(batch.labels[row]);
        }
      }
      assertThat(targets).isEqualTo(IntStream.range(1, size).map(range::token).boxed().toList());
    }
  }

  @Test
  void textsThatAreTooShortSaySo() {
    TokenRange eight = new TokenRange(shards, 0, CONTEXT);
    assertThatThrownBy(() -> new CausalSource(eight, CONTEXT, 1, Packing.STREAM, Sampling.EPOCH, 1))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("has 8 tokens, fewer than a context of 8 and its next token");
    assertThatThrownBy(() -> new CausalEvalSource(new TokenRange(shards, 0, 1), CONTEXT, 1))
        .isInstanceOf(InvalidInputException.class);
    assertThatThrownBy(() -> new CausalEvalSource(eight, 0, 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(
            () ->
                new MaskedSource(
                    all, tokenizer, new Masking(tokenizer, 0.15), 3, 1, false, true, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("a length of at least 4");
  }

  /**
   * Shares of masking within 5 standard deviations of Devlin et al.'s (a false alarm once in 10^6),
   * over some 100,000 tokens; special tokens never; anew every epoch.
   */
  @Test
  void maskingAsBerts() {
    Masking masking = new Masking(0.15, 4, 1000);
    int length = 200;
    int[] original = new int[length];
    boolean[] special = new boolean[length];
    for (int i = 0; i < length; i++) {
      original[i] = 500 + i;
      special[i] = i % 50 == 0;
    }
    int[] labels = new int[length];
    long candidates = 0;
    long chosen = 0;
    long mask = 0;
    long kept = 0;
    for (int n = 0; n < 600; n++) {
      int[] ids = original.clone();
      masking.apply(new Philox(1, 2, n), ids, special, labels, length);
      for (int i = 0; i < length; i++) {
        if (special[i] || labels[i] == Batch.IGNORED) {
          assertThat(ids[i]).isEqualTo(original[i]);
          assertThat(labels[i]).isEqualTo(Batch.IGNORED);
        } else {
          assertThat(labels[i]).isEqualTo(original[i]);
          chosen++;
          mask += ids[i] == 4 ? 1 : 0;
          kept += ids[i] == original[i] ? 1 : 0;
          assertThat(ids[i]).isBetween(0, 999);
        }
        candidates += special[i] ? 0 : 1;
      }
    }
    share(chosen, candidates, 0.15);
    // One random token in a thousand is the mask or the token itself.
    share(mask, chosen, 0.8 + 0.1 / 1000);
    share(kept, chosen, 0.1 + 0.1 / 1000);
  }

  private static void share(long part, long of, double expected) {
    double deviation = Math.sqrt(expected * (1 - expected) / of);
    assertThat((double) part / of)
        .as("%d of %d", part, of)
        .isBetween(expected - 5 * deviation, expected + 5 * deviation);
  }

  @Test
  void aSequenceHasALabelAtLeast() {
    Masking masking = new Masking(0.01, 4, 1000);
    int[] labels = new int[5];
    boolean[] special = {true, false, false, true, true};
    for (int n = 0; n < 200; n++) {
      masking.apply(new Philox(3, 4, n), new int[] {1, 2, 3, 4, 5}, special, labels, 5);
      assertThat(Arrays.stream(labels).filter(l -> l != Batch.IGNORED).count()).isPositive();
    }
    boolean[] none = {true, true, true, true, true};
    masking.apply(new Philox(3), new int[5], none, labels, 5);
    assertThat(labels).containsOnly(Batch.IGNORED);
    assertThatThrownBy(() -> new Masking(0, 4, 10)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Masking(Double.NaN, 4, 10))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void maskedExamples() {
    MaskedSource source = masked(false, true, 2);
    Batch batch = source.newBatch();
    long epoch = source.batchesPerEpoch();
    Set<String> masks = new HashSet<>();
    for (long i = 0; i < 2 * epoch; i++) {
      source.fill(i, batch);
      StringBuilder labels = new StringBuilder();
      for (int s = 0; s < batch.liveSequences; s++) {
        int from = batch.cuSeqlens[s];
        int to = batch.cuSeqlens[s + 1];
        assertThat(to - from).isBetween(3, 16);
        assertThat(batch.inputIds[from]).isEqualTo(tokenizer.clsId());
        assertThat(batch.inputIds[to - 1]).isEqualTo(tokenizer.sepId());
        assertThat(batch.labels[from]).isEqualTo(Batch.IGNORED);
        assertThat(batch.labels[to - 1]).isEqualTo(Batch.IGNORED);
        assertThat(batch.sequenceLabels[s]).isEqualTo(Batch.IGNORED);
        for (int row = from; row < to; row++) {
          assertThat(batch.tokenTypeIds[row]).isZero();
          assertThat(batch.positionIds[row]).isEqualTo(row - from);
          labels.append(batch.labels[row]).append(' ');
        }
      }
      masks.add(labels.toString());
    }
    assertThat(masks.size()).as("masks differ from epoch to epoch").isEqualTo((int) (2 * epoch));
  }

  /** Half of the second halves are another piece's. Oracle: the text itself. */
  @Test
  void nextSentences() {
    MaskedSource source = masked(true, true, 2);
    Batch batch = source.newBatch();
    int pairs = 0;
    int random = 0;
    for (long i = 0; i < 400; i++) {
      source.fill(i, batch);
      for (int s = 0; s < batch.liveSequences; s++) {
        int from = batch.cuSeqlens[s];
        int to = batch.cuSeqlens[s + 1];
        assertThat(to - from).isLessThanOrEqualTo(16);
        List<Integer> first = new ArrayList<>();
        List<Integer> second = new ArrayList<>();
        int seps = 0;
        for (int row = from + 1; row < to; row++) {
          int id = batch.labels[row] == Batch.IGNORED ? batch.inputIds[row] : batch.labels[row];
          assertThat(batch.tokenTypeIds[row]).isEqualTo(seps == 0 ? 0 : 1);
          if (id == tokenizer.sepId()) {
            assertThat(batch.labels[row]).isEqualTo(Batch.IGNORED);
            seps++;
          } else {
            (seps == 0 ? first : second).add(id);
          }
        }
        assertThat(seps).isEqualTo(2);
        assertThat(first).isNotEmpty();
        assertThat(second).isNotEmpty();
        int label = batch.sequenceLabels[s];
        if (label == 0) {
          List<Integer> joined = new ArrayList<>(first);
          joined.addAll(second);
          assertThat(stands(joined)).as("a next sentence stands next").isTrue();
        } else {
          assertThat(label).isEqualTo(1);
          assertThat(stands(first) && stands(second)).isTrue();
          random++;
        }
        pairs++;
      }
    }
    share(random, pairs, 0.5);
  }

  private boolean stands(List<Integer> ids) {
    for (long at = 0; at + ids.size() <= all.size(); at++) {
      int i = 0;
      while (i < ids.size() && all.token(at + i) == ids.get(i)) {
        i++;
      }
      if (i == ids.size()) {
        return true;
      }
    }
    return false;
  }

  @Test
  void evaluationsMaskAlike() {
    MaskedSource source = masked(true, false, 2);
    Batch batch = source.newBatch();
    source.fill(1, batch);
    String once = content(batch);
    source.fill(1 + source.batchesPerEpoch(), batch);
    assertThat(content(batch)).isEqualTo(once);
    long rows = 0;
    for (long i = 0; i < source.batchesPerEpoch(); i++) {
      source.fill(i, batch);
      rows += batch.liveSequences;
    }
    assertThat(rows).isEqualTo(new Pieces(all, 13, 0, 2).count());
  }

  /** Special tokens that stand in the text are as unmaskable as those added. */
  @Test
  void specialTokensOfTheTextAreNeverMasked() {
    Path corpus =
        TextFixtures.write(directory.resolve("marks.txt"), "a [SEP] b [MASK] c ".repeat(200));
    try (TokenShards marked =
        TokenShards.build(
            List.of(corpus), DocumentMode.FILE, "text", tokenizer, directory.resolve("m"))) {
      MaskedSource source =
          new MaskedSource(
              marked.all(), tokenizer, new Masking(tokenizer, 0.9), 64, 2, false, true, 1);
      Batch batch = source.newBatch();
      source.fill(0, batch);
      Set<Integer> labels = new HashSet<>();
      for (int row = 0; row < batch.liveTokens; row++) {
        labels.add(batch.labels[row]);
      }
      assertThat(labels)
          .containsExactlyInAnyOrder(
              Batch.IGNORED, tokenizer.id("a"), tokenizer.id("b"), tokenizer.id("c"));
    }
  }

  @Test
  void classification() {
    ClassificationSource inOrder = classified(false, 0);
    assertThat(inOrder.batchesPerEpoch()).isEqualTo(7);
    Batch batch = inOrder.newBatch();
    List<Integer> labels = new ArrayList<>();
    for (long i = 0; i < 7; i++) {
      inOrder.fill(i, batch);
      for (int s = 0; s < batch.liveSequences; s++) {
        int from = batch.cuSeqlens[s];
        int label = batch.sequenceLabels[s];
        labels.add(label);
        assertThat(Arrays.copyOfRange(batch.inputIds, from, batch.cuSeqlens[s + 1]))
            .isEqualTo(
                tokenizer.encode("a b c ".repeat(label % 5) + (char) ('a' + label), true).ids());
        assertThat(batch.firstRows[s]).isEqualTo(from);
      }
    }
    assertThat(labels).isEqualTo(IntStream.range(0, 20).boxed().toList());
    ClassificationSource shuffled = classified(true, 1);
    assertThat(shuffled.batchesPerEpoch()).isEqualTo(6);
    Set<List<Integer>> orders = new HashSet<>();
    for (int epoch = 0; epoch < 3; epoch++) {
      List<Integer> order = new ArrayList<>();
      for (long i = 0; i < 6; i++) {
        shuffled.fill(epoch * 6 + i, batch);
        for (int s = 0; s < batch.liveSequences; s++) {
          order.add(batch.sequenceLabels[s]);
        }
      }
      assertThat(order).hasSize(18).doesNotHaveDuplicates();
      orders.add(order);
    }
    assertThat(orders).hasSize(3);
  }
}
