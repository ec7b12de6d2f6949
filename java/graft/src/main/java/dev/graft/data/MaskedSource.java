package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Philox;
import dev.graft.text.Tokenizer;
import java.util.BitSet;

/**
 * Training batches for BERT's objectives: one example a sequence, masked anew every epoch. An
 * example is {@code [CLS] piece [SEP]}, or with next sentences {@code [CLS] first half [SEP] second
 * half [SEP]}, where half of the second halves are another piece's (label 1).
 */
public final class MaskedSource implements BatchSource {
  private static final int STREAM = 0x4D53;

  private final TokenRange tokens;
  private final Pieces pieces;
  private final Masking masking;
  private final int maxLength;
  private final int batchSize;
  private final boolean nextSentence;
  private final boolean shuffle;
  private final long seed;
  private final int cls;
  private final int sep;
  private final BitSet unmaskable = new BitSet();
  private final int[] ids;
  private final int[] types;
  private final int[] labels;
  private final boolean[] special;
  private final Philox random = new Philox(0);
  private int length;
  private long epoch = -1;
  private Permutation permutation;

  /**
   * @param tokens a corpus; special tokens in it are never masked
   * @param maxLength longest sequence, special tokens included
   * @param batchSize sequences of a batch
   * @param shuffle false for an evaluation: pieces in order, the same masks every time
   */
  public MaskedSource(
      TokenRange tokens,
      Tokenizer tokenizer,
      Masking masking,
      int maxLength,
      int batchSize,
      boolean nextSentence,
      boolean shuffle,
      long seed) {
    cls = tokenizer.clsId();
    sep = tokenizer.sepId();
    if (cls < 0 || sep < 0) {
      throw new InvalidInputException("the tokenizer has no [CLS] and [SEP]");
    }
    int added = nextSentence ? 3 : 2;
    if (maxLength < added + 2 || batchSize < 1) {
      throw new IllegalArgumentException(
          "expected a length of at least "
              + (added + 2)
              + " and a positive batch, got "
              + maxLength
              + ", "
              + batchSize);
    }
    this.tokens = tokens;
    this.masking = masking;
    this.maxLength = maxLength;
    this.batchSize = batchSize;
    this.nextSentence = nextSentence;
    this.shuffle = shuffle;
    this.seed = seed;
    pieces = new Pieces(tokens, maxLength - added, 0, nextSentence ? 2 : 1);
    if (pieces.count() == 0 || (nextSentence && pieces.count() < 2)) {
      throw new InvalidInputException("the text is too short to make examples of it");
    }
    // Special tokens that stand in the text; an unknown word is a word all the same.
    for (int id = 0; id < tokenizer.vocabSize(); id++) {
      unmaskable.set(id, tokenizer.isSpecial(id) && id != tokenizer.unkId());
    }
    ids = new int[maxLength];
    types = new int[maxLength];
    labels = new int[maxLength];
    special = new boolean[maxLength];
  }

  @Override
  public long batchesPerEpoch() {
    return shuffle
        ? Math.max(1, pieces.count() / batchSize)
        : (pieces.count() + batchSize - 1) / batchSize;
  }

  @Override
  public Batch newBatch() {
    return new Batch(Math.multiplyExact(batchSize, maxLength), batchSize, maxLength);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    for (int b = 0; b < batchSize; b++) {
      long example = index * batchSize + b;
      if (!shuffle) {
        example = index % batchesPerEpoch() * batchSize + b;
        if (example >= pieces.count()) {
          break;
        }
      }
      add(batch, example);
    }
    batch.finish();
  }

  private void add(Batch batch, long example) {
    long at = example / pieces.count();
    long piece = example % pieces.count();
    if (shuffle) {
      if (at != epoch) {
        epoch = at;
        permutation = new Permutation(pieces.count(), seed, epoch);
      }
      piece = permutation.apply(piece);
    }
    random.seek(seed, STREAM, example);
    int label = assemble(piece);
    masking.apply(random, ids, special, labels, length);
    batch.beginSequence(label);
    for (int i = 0; i < length; i++) {
      batch.addToken(ids[i], i, types[i], labels[i]);
    }
  }

  /** Puts an example together; returns its next-sentence label. */
  private int assemble(long piece) {
    length = 0;
    put(cls, 0, true);
    int size = pieces.length(piece);
    if (!nextSentence) {
      copy(pieces.start(piece), size, 0);
      put(sep, 0, true);
      return Batch.IGNORED;
    }
    int first = size / 2;
    copy(pieces.start(piece), first, 0);
    put(sep, 0, true);
    int label = random.nextInt(2);
    if (label == 0) {
      copy(pieces.start(piece) + first, size - first, 1);
    } else {
      long other = random.nextInt(pieces.count() - 1);
      other += other >= piece ? 1 : 0;
      int otherFirst = pieces.length(other) / 2;
      int count = Math.min(pieces.length(other) - otherFirst, maxLength - 1 - length);
      copy(pieces.start(other) + otherFirst, count, 1);
    }
    put(sep, 1, true);
    return label;
  }

  private void copy(long start, int count, int type) {
    for (int i = 0; i < count; i++) {
      int id = tokens.token(start + i);
      put(id, type, unmaskable.get(id));
    }
  }

  private void put(int id, int type, boolean isSpecial) {
    ids[length] = id;
    types[length] = type;
    special[length++] = isSpecial;
  }

  @Override
  public String fingerprint() {
    return String.join(
        " ",
        "masked",
        tokens.fingerprint(),
        "length=" + maxLength,
        "batch=" + batchSize,
        "masking " + masking,
        "nextSentence=" + nextSentence,
        "shuffle=" + shuffle,
        "seed=" + seed);
  }
}
