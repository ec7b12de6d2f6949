package dev.graft.data;

import java.util.Arrays;

/**
 * A packed batch on the host: sequences one after the other without padding, rounded up to a bucket
 * of 128·n tokens by ordinary tail sequences that carry no label. Refilled in place; nothing is
 * allocated after construction.
 *
 * <p>T = {@link #tokens} rows. Arrays are as long as the largest batch; only the first elements
 * count.
 */
public final class Batch {
  /** A label that no loss counts. */
  public static final int IGNORED = -100;

  /** Tokens are rounded up to a multiple of this. */
  public static final int TOKEN_BUCKET = 128;

  /** Masked rows are rounded up to a multiple of this. */
  public static final int MASK_BUCKET = 64;

  private final int maxTokens;
  private final int maxLiveSequences;
  private final int maxSequences;
  private final int maxSeqlen;

  /** Rows of the bucket, live and tail. */
  public int tokens;

  /** Rows that hold data. */
  public int liveTokens;

  /** Sequences, tail included. */
  public int sequences;

  /** Sequences that hold data. */
  public int liveSequences;

  /** [T] token ids. */
  public final int[] inputIds;

  /** [T] positions, restarting in each sequence. */
  public final int[] positionIds;

  /** [T] segment ids. */
  public final int[] tokenTypeIds;

  /** [T] the target of each row, {@link #IGNORED} where there is none. */
  public final int[] labels;

  /**
   * [maxSequences + 1] first row of each sequence; entries behind the last hold {@link #tokens}.
   */
  public final int[] cuSeqlens;

  /** Rows to gather for a masked-word loss, rounded up to {@link #MASK_BUCKET}. */
  public int maskedCount;

  /** [maskedCount] rows with a label, then −1. */
  public final int[] maskedRows;

  /** [maskedCount] their labels, then {@link #IGNORED}. */
  public final int[] maskedLabels;

  /** [maxSequences] label of each sequence. */
  public final int[] sequenceLabels;

  /**
   * [maxSequences] the token an answer ends with, counted from the sequence's first; it begins at
   * the sequence's label.
   */
  public final int[] endPositions;

  /** Questions whose choices are sequences of this batch. */
  public int questions;

  /**
   * [maxSequences + 1] first sequence of each question; then the end of the live sequences, then
   * {@link #maxSequences}.
   */
  public final int[] cuChoices;

  /** [maxSequences] which of its choices is right for each question, counted from its first. */
  public final int[] choiceLabels;

  /** [maxSequences, targetColumns] numbers each sequence should have, {@link #IGNORED} if none. */
  public final float[] targets;

  private final int targetColumns;

  /** [maxSequences] first row of each live sequence, then −1. */
  public final int[] firstRows;

  /** [T] rows in stable order of token id, of position, of segment. */
  public final int[] tokenOrder;

  public final int[] positionOrder;
  public final int[] typeOrder;

  private int[] counts = new int[0];

  /**
   * Room for a batch.
   *
   * @param maxTokens most live tokens, at least 1
   * @param maxLiveSequences most sequences with data
   * @param maxSeqlen longest sequence; the tail is cut to it
   */
  public Batch(int maxTokens, int maxLiveSequences, int maxSeqlen) {
    this(maxTokens, maxLiveSequences, maxSeqlen, 0);
  }

  /**
   * Room for a batch with float targets.
   *
   * @param targetColumns targets of a sequence; see {@link #targets}
   */
  public Batch(int maxTokens, int maxLiveSequences, int maxSeqlen, int targetColumns) {
    if (maxTokens < 1 || maxLiveSequences < 1 || maxSeqlen < 1) {
      throw new IllegalArgumentException(
          String.format(
              "batch: expected positive sizes, got %d tokens, %d sequences of at most %d",
              maxTokens, maxLiveSequences, maxSeqlen));
    }
    this.maxTokens = roundUp(maxTokens, TOKEN_BUCKET);
    this.maxSeqlen = maxSeqlen;
    this.maxLiveSequences = maxLiveSequences;
    this.maxSequences = maxLiveSequences + (TOKEN_BUCKET + maxSeqlen - 1) / maxSeqlen;
    inputIds = new int[this.maxTokens];
    positionIds = new int[this.maxTokens];
    tokenTypeIds = new int[this.maxTokens];
    labels = new int[this.maxTokens];
    int rows = roundUp(this.maxTokens, MASK_BUCKET);
    maskedRows = new int[rows];
    maskedLabels = new int[rows];
    cuSeqlens = new int[maxSequences + 1];
    sequenceLabels = new int[maxSequences];
    endPositions = new int[maxSequences];
    cuChoices = new int[maxSequences + 1];
    choiceLabels = new int[maxSequences];
    this.targetColumns = targetColumns;
    targets = new float[maxSequences * targetColumns];
    firstRows = new int[maxSequences];
    tokenOrder = new int[this.maxTokens];
    positionOrder = new int[this.maxTokens];
    typeOrder = new int[this.maxTokens];
  }

  /** {@code n} rounded up to a multiple. */
  public static int roundUp(int n, int multiple) {
    return (n + multiple - 1) / multiple * multiple;
  }

  /** Rows of the largest bucket. */
  public int maxTokens() {
    return maxTokens;
  }

  /** Most sequences with data. */
  public int maxLiveSequences() {
    return maxLiveSequences;
  }

  /** Most sequences, the tail's included. */
  public int maxSequences() {
    return maxSequences;
  }

  /** Longest sequence. */
  public int maxSeqlen() {
    return maxSeqlen;
  }

  /** Empties the batch. */
  public Batch begin() {
    tokens = 0;
    liveTokens = 0;
    sequences = 0;
    liveSequences = 0;
    maskedCount = 0;
    questions = 0;
    cuSeqlens[0] = 0;
    return this;
  }

  /**
   * Opens a question; its choices follow as sequences.
   *
   * @param label which of them is right, counted from 0, or {@link #IGNORED}
   */
  public void beginQuestion(int label) {
    if (questions >= maxLiveSequences) {
      throw new IllegalStateException("batch: more than " + maxLiveSequences + " questions");
    }
    cuChoices[questions] = sequences;
    choiceLabels[questions] = label;
    questions++;
  }

  /**
   * Opens a sequence; its rows follow through {@link #addToken}.
   *
   * @param label the sequence's label, or {@link #IGNORED}
   */
  public void beginSequence(int label) {
    if (sequences >= maxSequences) {
      throw new IllegalStateException("batch: more than " + maxSequences + " sequences");
    }
    sequenceLabels[sequences] = label;
    endPositions[sequences] = IGNORED;
    Arrays.fill(
        targets, sequences * targetColumns, (sequences + 1) * targetColumns, (float) IGNORED);
    firstRows[sequences] = liveTokens;
    sequences++;
    cuSeqlens[sequences] = liveTokens;
  }

  /** Says where the answer ends in the open sequence; its label says where it begins. */
  public void endPosition(int position) {
    endPositions[sequences - 1] = position;
  }

  /** Sets the float targets of the open sequence. */
  public void targets(float[] values) {
    if (values.length != targetColumns) {
      throw new IllegalArgumentException(
          "batch: expected " + targetColumns + " targets, got " + values.length);
    }
    System.arraycopy(values, 0, targets, (sequences - 1) * targetColumns, targetColumns);
  }

  /** Adds a row to the open sequence. */
  public void addToken(int id, int position, int type, int label) {
    int row = liveTokens;
    if (row >= maxTokens || row - cuSeqlens[sequences - 1] >= maxSeqlen) {
      throw new IllegalStateException(
          "batch: no room for another token (" + maxTokens + " in all, " + maxSeqlen + " each)");
    }
    inputIds[row] = id;
    positionIds[row] = position;
    tokenTypeIds[row] = type;
    labels[row] = label;
    liveTokens = row + 1;
    cuSeqlens[sequences] = liveTokens;
  }

  /** Adds the tail, lists the labelled rows and sorts rows by id. */
  public Batch finish() {
    liveSequences = sequences;
    int live = liveTokens;
    maskedCount = 0;
    for (int row = 0; row < live; row++) {
      if (labels[row] != IGNORED) {
        maskedRows[maskedCount] = row;
        maskedLabels[maskedCount] = labels[row];
        maskedCount++;
      }
    }
    int padded = roundUp(Math.max(1, maskedCount), MASK_BUCKET);
    Arrays.fill(maskedRows, maskedCount, padded, -1);
    Arrays.fill(maskedLabels, maskedCount, padded, IGNORED);
    maskedCount = padded;

    tokens = roundUp(Math.max(1, live), TOKEN_BUCKET);
    while (liveTokens < tokens) {
      beginSequence(IGNORED);
      int length = Math.min(maxSeqlen, tokens - liveTokens);
      for (int i = 0; i < length; i++) {
        addToken(0, i, 0, IGNORED);
      }
    }
    liveTokens = live;
    Arrays.fill(cuSeqlens, sequences, cuSeqlens.length, tokens);
    for (int s = 0; s < liveSequences; s++) {
      if (cuSeqlens[s] == cuSeqlens[s + 1]) {
        firstRows[s] = -1;
      }
    }
    Arrays.fill(firstRows, liveSequences, firstRows.length, -1);
    Arrays.fill(sequenceLabels, liveSequences, sequenceLabels.length, IGNORED);
    Arrays.fill(endPositions, liveSequences, endPositions.length, IGNORED);
    Arrays.fill(targets, liveSequences * targetColumns, targets.length, (float) IGNORED);
    cuChoices[questions] = liveSequences;
    Arrays.fill(cuChoices, questions + 1, cuChoices.length, maxSequences);
    Arrays.fill(choiceLabels, questions, choiceLabels.length, IGNORED);
    sort(inputIds, tokenOrder);
    sort(positionIds, positionOrder);
    sort(tokenTypeIds, typeOrder);
    return this;
  }

  /** Stable counting sort of the rows by id. */
  private void sort(int[] ids, int[] order) {
    int largest = 0;
    for (int row = 0; row < tokens; row++) {
      if (ids[row] < 0) {
        throw new IllegalArgumentException(
            "batch: row " + row + " has the negative id " + ids[row]);
      }
      largest = Math.max(largest, ids[row]);
    }
    if (counts.length < largest + 2) {
      counts = new int[Math.max(largest + 2, 2 * counts.length)];
    }
    Arrays.fill(counts, 0, largest + 2, 0);
    for (int row = 0; row < tokens; row++) {
      counts[ids[row] + 1]++;
    }
    for (int id = 0; id <= largest; id++) {
      counts[id + 1] += counts[id];
    }
    for (int row = 0; row < tokens; row++) {
      order[counts[ids[row]]++] = row;
    }
  }

  /** Rows that carry a label. */
  public long labelCount() {
    long count = 0;
    for (int row = 0; row < liveTokens; row++) {
      count += labels[row] == IGNORED ? 0 : 1;
    }
    return count;
  }

  /** Sequences that carry a label. */
  public long sequenceLabelCount() {
    return count(sequenceLabels, liveSequences);
  }

  /** Sequences in which an answer ends. */
  public long endPositionCount() {
    return count(endPositions, liveSequences);
  }

  /** Questions whose right choice is known. */
  public long choiceLabelCount() {
    return count(choiceLabels, questions);
  }

  /** Float targets that count. */
  public long targetCount() {
    long count = 0;
    for (int i = 0; i < liveSequences * targetColumns; i++) {
      count += targets[i] == IGNORED ? 0 : 1;
    }
    return count;
  }

  private static long count(int[] labels, int length) {
    long count = 0;
    for (int i = 0; i < length; i++) {
      count += labels[i] == IGNORED ? 0 : 1;
    }
    return count;
  }
}
