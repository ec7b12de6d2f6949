package dev.graft.bench;

import dev.graft.program.Ops;
import dev.graft.runtime.Philox;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The dropout masks a network draws in one step, laid out for its libtorch twin. Masks are
 * functions of packed rows, and of positions inside a sequence; padding is kept.
 */
final class Masks {
  private final PaddedBatch batch;
  private final long seed;
  private final long step;

  /** The masks of (seed, step), as given to {@code TrainStep.forwardBackward}. */
  Masks(PaddedBatch batch, long seed, long step) {
    this.batch = batch;
    this.seed = seed;
    this.step = step;
  }

  private long key(int opId) {
    return Philox.streamKey(seed, step, opId);
  }

  /** [B · T, channels]. */
  Tensor tokens(int opId, double probability, int channels, ScalarType precision) {
    double[] packed =
        KeepMask.hidden(key(opId), Ops.dropoutByte(probability), batch.cells.length, channels);
    int rows = batch.sequences * batch.columns;
    double[] padded = new double[rows * channels];
    for (int row = 0; row < batch.cells.length; row++) {
      System.arraycopy(packed, row * channels, padded, batch.cells[row] * channels, channels);
    }
    return Torch.of(padded, precision, rows, channels);
  }

  /** [B, channels]. */
  Tensor sequences(int opId, double probability, int channels, ScalarType precision) {
    double[] factors =
        KeepMask.hidden(key(opId), Ops.dropoutByte(probability), batch.sequences, channels);
    return Torch.of(factors, precision, batch.sequences, channels);
  }

  /** [B, heads, T, T]. */
  Tensor scores(int opId, double probability, int heads, ScalarType precision) {
    int columns = batch.columns;
    double[] padded = new double[batch.sequences * heads * columns * columns];
    java.util.Arrays.fill(padded, 1);
    for (int b = 0; b < batch.sequences; b++) {
      int n = batch.lengths[b];
      int begin = batch.begins[b];
      double[] factors =
          KeepMask.attention(key(opId), Ops.dropoutByte(probability), b, heads, 0, n, n);
      for (int h = 0; h < heads; h++) {
        for (int i = 0; i < n; i++) {
          int to = ((b * heads + h) * columns + begin + i) * columns + begin;
          System.arraycopy(factors, (h * n + i) * n, padded, to, n);
        }
      }
    }
    return Torch.of(padded, precision, batch.sequences, heads, columns, columns);
  }
}
