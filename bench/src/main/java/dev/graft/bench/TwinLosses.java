package dev.graft.bench;

import dev.graft.data.Batch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.Reduction;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The losses of the heads from libtorch's ops: means over what carries a label, 0 if nothing does;
 * in fp32 at least, as the reference implementation takes them.
 */
final class TwinLosses {
  private static final double HIDDEN = Double.NEGATIVE_INFINITY;

  private final ScalarType precision;

  /** Of a twin that computes in {@code precision}. */
  TwinLosses(ScalarType precision) {
    this.precision = precision == Torch.F64 ? Torch.F64 : Torch.F32;
  }

  /** Cross-entropy of [rows, classes] with int64 [rows], of which {@code labels} count. */
  Tensor classes(Tensor logits, Tensor targets, long labels) {
    Tensor wide = logits.to(precision);
    return labels == 0
        ? none(wide)
        : torch
            .cross_entropy_loss(
                wide, targets, new TensorOptional(), Reduction.Sum.value, Batch.IGNORED, 0)
            .div(Torch.scalar(labels));
  }

  private static Tensor none(Tensor logits) {
    return logits.sum().mul(Torch.scalar(0));
  }

  /** The mean of two cross-entropies over the tokens of a sequence; [B · T, 2]. */
  Tensor answers(Tensor scores, PaddedBatch batch) {
    Tensor starts = answer(scores, batch, 0, batch.packed.sequenceLabels);
    Tensor ends = answer(scores, batch, 1, batch.packed.endPositions);
    return starts.add(ends).mul(Torch.scalar(0.5));
  }

  private Tensor answer(Tensor scores, PaddedBatch batch, int column, int[] positions) {
    int[] labelled =
        IntStream.range(0, batch.sequences).filter(b -> positions[b] != Batch.IGNORED).toArray();
    int columns = batch.columns;
    double[] hidden = new double[labelled.length * columns];
    Arrays.fill(hidden, HIDDEN);
    long[] targets = new long[labelled.length];
    for (int i = 0; i < labelled.length; i++) {
      int b = labelled[i];
      int from = i * columns + batch.begins[b];
      Arrays.fill(hidden, from, from + batch.lengths[b], 0);
      targets[i] = (long) batch.begins[b] + positions[b];
    }
    Tensor grid = scores.to(precision).select(1, column).reshape(batch.sequences, columns);
    if (labelled.length == 0) {
      return none(grid);
    }
    Tensor rows = grid.index_select(0, index(labelled));
    Tensor mask = Torch.of(hidden, precision, labelled.length, columns);
    return classes(rows.add(mask), Tensor.create(targets), labelled.length);
  }

  /** Cross-entropy over the choices of each question; [B, 1]. */
  Tensor choices(Tensor scores, PaddedBatch batch) {
    int[] begins = batch.packed.cuChoices;
    int[] right = batch.packed.choiceLabels;
    Tensor wide = scores.to(precision).flatten();
    Tensor sum = none(wide);
    long labelled = batch.packed.choiceLabelCount();
    for (int q = 0; q < batch.packed.questions; q++) {
      if (right[q] != Batch.IGNORED) {
        int[] own = IntStream.range(begins[q], begins[q + 1]).toArray();
        Tensor row = wide.index_select(0, index(own)).reshape(1, own.length);
        sum = sum.add(classes(row, Tensor.create(new long[] {right[q]}), labelled));
      }
    }
    return sum;
  }

  /** Binary cross-entropy of several labels; [B, K]. */
  Tensor labels(Tensor logits, PaddedBatch batch) {
    return overTargets(
        logits,
        batch,
        (given, wanted) ->
            torch.binary_cross_entropy_with_logits(
                given, wanted, new TensorOptional(), new TensorOptional(), Reduction.Sum.value));
  }

  /** Squared error; [B, K]. */
  Tensor numbers(Tensor logits, PaddedBatch batch) {
    return overTargets(
        logits, batch, (given, wanted) -> torch.mse_loss(given, wanted, Reduction.Sum.value));
  }

  private interface Sum {
    Tensor of(Tensor given, Tensor wanted);
  }

  private Tensor overTargets(Tensor logits, PaddedBatch batch, Sum sum) {
    float[] targets = batch.packed.targets;
    int count = Math.toIntExact(logits.numel());
    List<Integer> counted = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      if (targets[i] != Batch.IGNORED) {
        counted.add(i);
      }
    }
    Tensor wide = logits.to(precision).flatten();
    if (counted.isEmpty()) {
      return none(wide);
    }
    int[] at = counted.stream().mapToInt(i -> i).toArray();
    double[] wanted = Arrays.stream(at).mapToDouble(i -> targets[i]).toArray();
    return sum.of(wide.index_select(0, index(at)), Torch.of(wanted, precision, at.length))
        .div(Torch.scalar(at.length));
  }

  private static Tensor index(int[] rows) {
    return Tensor.create(Arrays.stream(rows).mapToLong(i -> i).toArray());
  }
}
