package dev.graft.bench;

import dev.graft.data.Batch;
import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A packed batch the way libtorch's users hold one: B rows of T columns, short sequences padded and
 * masked. Padding stands before the tokens of every second sequence and behind those of the others.
 *
 * <p>Cell b · T + t is column t of sequence b. Padding has id 0 and no label.
 */
final class PaddedBatch {
  private static final double HIDDEN = Double.NEGATIVE_INFINITY;

  /** What is padded here. */
  final Batch packed;

  /** B and T. */
  final int sequences;

  final int columns;

  /** [tokens] the cell of each packed row. */
  final int[] cells;

  /** [B] the column of each sequence's first token. */
  final int[] begins;

  /** [B] tokens of each sequence. */
  final int[] lengths;

  /** int64 [B · T]. */
  final Tensor ids;

  final Tensor positions;
  final Tensor types;
  final Tensor labels;

  /** int64: the cells with a label, and their labels. */
  final Tensor labelledCells;

  final Tensor labelledTargets;

  /** int64 [B]: the cell of each sequence's first token, and the sequence's label. */
  final Tensor firstCells;

  final Tensor sequenceLabels;

  /** Sequences with a label. */
  final long sequenceLabelCount;

  PaddedBatch(Batch batch) {
    packed = batch;
    sequences = batch.liveSequences;
    begins = new int[sequences];
    lengths = new int[sequences];
    for (int b = 0; b < sequences; b++) {
      lengths[b] = batch.cuSeqlens[b + 1] - batch.cuSeqlens[b];
    }
    sequenceLabelCount = batch.sequenceLabelCount();
    columns = Arrays.stream(lengths).max().orElseThrow();
    cells = new int[batch.liveTokens];
    long[] cellIds = new long[sequences * columns];
    long[] cellPositions = new long[sequences * columns];
    long[] cellTypes = new long[sequences * columns];
    long[] cellLabels = new long[sequences * columns];
    Arrays.fill(cellLabels, Batch.IGNORED);
    long[] firsts = new long[sequences];
    long[] sentenceLabels = new long[sequences];
    for (int b = 0; b < sequences; b++) {
      begins[b] = b % 2 == 0 ? 0 : columns - lengths[b];
      firsts[b] = (long) b * columns + Math.min(begins[b], columns - 1);
      sentenceLabels[b] = batch.sequenceLabels[b];
      for (int i = 0; i < lengths[b]; i++) {
        int row = batch.cuSeqlens[b] + i;
        int cell = b * columns + begins[b] + i;
        cells[row] = cell;
        cellIds[cell] = batch.inputIds[row];
        cellPositions[cell] = batch.positionIds[row];
        cellTypes[cell] = batch.tokenTypeIds[row];
        cellLabels[cell] = batch.labels[row];
      }
    }
    ids = Tensor.create(cellIds);
    positions = Tensor.create(cellPositions);
    types = Tensor.create(cellTypes);
    labels = Tensor.create(cellLabels);
    long[] labelled =
        Arrays.stream(cells)
            .filter(cell -> cellLabels[cell] != Batch.IGNORED)
            .mapToLong(i -> i)
            .toArray();
    labelledCells = Tensor.create(labelled);
    labelledTargets =
        Tensor.create(Arrays.stream(labelled).map(i -> cellLabels[(int) i]).toArray());
    firstCells = Tensor.create(firsts);
    sequenceLabels = Tensor.create(sentenceLabels);
  }

  /** Whether no sequence is padded. */
  boolean isFull() {
    return cells.length == sequences * columns;
  }

  /**
   * What is added to the scores, [B, 1, T, T]: 0 where query i sees key j, else −∞. A padded query
   * sees itself, so that its row stays finite; nothing reads it.
   */
  Tensor scoreMask(boolean causal, ScalarType precision) {
    double[] values = new double[sequences * columns * columns];
    int at = 0;
    for (int b = 0; b < sequences; b++) {
      int end = begins[b] + lengths[b];
      for (int i = 0; i < columns; i++) {
        for (int j = 0; j < columns; j++) {
          boolean real = j >= begins[b] && j < end;
          boolean seen = i == j || (real && (!causal || j <= i));
          values[at++] = seen ? 0 : HIDDEN;
        }
      }
    }
    return Torch.of(values, precision, sequences, 1, columns, columns);
  }
}
