package dev.graft.bench;

import dev.graft.program.Ops;
import dev.graft.runtime.Philox;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The dropout masks a network draws in one step, laid out for its libtorch twin. Masks are
 * functions of packed rows, and of positions inside a sequence; padding is kept.
 */
class Masks {
  private final PaddedBatch batch;
  private final long seed;
  private final long step;

  /** By op: a twin in double and one beside it ask for the same. */
  private final Map<Integer, double[]> drawn = new HashMap<>();

  /** The masks of (seed, step), as given to {@code TrainStep.forwardBackward}. */
  Masks(PaddedBatch batch, long seed, long step) {
    this.batch = batch;
    this.seed = seed;
    this.step = step;
  }

  private long key(int opId) {
    return Philox.streamKey(seed, stepOf(opId), opId);
  }

  /** The step whose masks one op has: this one's; a test that plants a fault says otherwise. */
  long stepOf(int opId) {
    return step;
  }

  /** [B · T, channels]. */
  final Tensor tokens(int opId, double probability, int channels, ScalarType precision) {
    int rows = batch.sequences * batch.columns;
    double[] factors = drawn.computeIfAbsent(opId, op -> padded(op, probability, channels));
    return Torch.of(factors, precision, rows, channels);
  }

  private double[] padded(int opId, double probability, int channels) {
    double[] packed =
        KeepMask.hidden(key(opId), Ops.dropoutByte(probability), batch.cells.length, channels);
    double[] padded = new double[batch.sequences * batch.columns * channels];
    for (int row = 0; row < batch.cells.length; row++) {
      System.arraycopy(packed, row * channels, padded, batch.cells[row] * channels, channels);
    }
    return padded;
  }

  /** [B, channels]. */
  final Tensor sequences(int opId, double probability, int channels, ScalarType precision) {
    double[] factors =
        KeepMask.hidden(key(opId), Ops.dropoutByte(probability), batch.sequences, channels);
    return Torch.of(factors, precision, batch.sequences, channels);
  }

  /** [B, heads, T, T]. */
  final Tensor scores(int opId, double probability, int heads, ScalarType precision) {
    int columns = batch.columns;
    double[] factors = drawn.computeIfAbsent(opId, op -> scores(op, probability, heads));
    return Torch.of(factors, precision, batch.sequences, heads, columns, columns);
  }

  private double[] scores(int opId, double probability, int heads) {
    int columns = batch.columns;
    double[] padded = new double[batch.sequences * heads * columns * columns];
    Arrays.fill(padded, 1);
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
    return padded;
  }
}
