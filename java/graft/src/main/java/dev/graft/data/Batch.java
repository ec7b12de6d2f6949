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
    if (maxTokens < 1 || maxLiveSequences < 1 || maxSeqlen < 1) {
      throw new IllegalArgumentException(
          String.format(
              "batch: expected positive sizes, got %d tokens, %d sequences of at most %d",
              maxTokens, maxLiveSequences, maxSeqlen));
    }
    this.maxTokens = roundUp(maxTokens, TOKEN_BUCKET);
    this.maxSeqlen = maxSeqlen;
