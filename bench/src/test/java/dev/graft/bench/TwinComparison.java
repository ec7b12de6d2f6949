package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Batch;
import dev.graft.model.Limits;
import dev.graft.model.LogitsStep;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/**
 * A network against its libtorch twin by {@link LibtorchRule}, with f64 the twin in double: the
 * logits of every head, the loss, the gradient of every published tensor. Losses and gradients are
 * fp32 in Graft at either dtype, so their ulp is fp32's; logits are of the network's dtype.
 */
final class TwinComparison {
  private static final String LOGITS = "logits of ";
  static final Predicate<String> GRADIENT =
      result -> !result.equals("loss") && !result.startsWith(LOGITS);

  private final Device device;
  private final DType dtype;
  private final boolean dropout;
  private int draws = 1;
  private int wrongOp = -1;

  /** With {@code dropout} both sides apply the masks of the same Philox draws. */
  TwinComparison(Device device, DType dtype, boolean dropout) {
    this.device = device;
    this.dtype = dtype;
    this.dropout = dropout;
  }

  /** Each draw has its own weights and data: a loss is one number a draw and a bias a few dozen. */
  TwinComparison withDraws(int count) {
    draws = count;
    return this;
  }

  /** At one place the twin takes the mask of another step: a planted fault. */
  TwinComparison withWrongMaskAt(int opId) {
    wrongOp = opId;
    return this;
  }

  private Masks masks(PaddedBatch batch, int draw) {
    return new Masks(batch, TwinBatches.SEED, draw) {
      @Override
      long stepOf(int opId) {
        return opId == wrongOp ? draw + 1_000 : draw;
      }
    };
  }

  void check(String name, TwinModels.Maker maker) {
    LibtorchRule rule = new LibtorchRule(LibtorchRule.Measure.RMS);
    for (int draw = 0; draw < draws; draw++) {
      try (PointerScope scope = new PointerScope();
          Network network = maker.make(device, dtype, draw)) {
        measure(network, TwinBatches.of(network, draw), draw, rule);
      }
    }
    rule.check(name, GRADIENT);
  }

  private void measure(Network network, Batch batch, int draw, LibtorchRule rule) {
    PaddedBatch padded = new PaddedBatch(batch);
    Masks masks = dropout ? masks(padded, draw) : null;
    Twin exact = Twin.of(network, Torch.F64);
    Twin peer = Twin.of(network, dtype == DType.FLOAT32 ? Torch.F32 : Torch.BF16);
    Twin.Pass exactPass = exact.forward(padded, masks);
    Twin.Pass peerPass = peer.forward(padded, masks);
    logits(network, padded, draw, rule, exactPass, peerPass);
    double ownLoss = step(network, batch, draw);
    rule.add(
        "loss",
        new double[] {ownLoss},
        new double[] {backward(peerPass)},
        new double[] {backward(exactPass)},
        LibtorchRule.FP32);
    Map<String, float[]> own = network.parameters().gradients();
    assertThat(own.keySet()).isEqualTo(exact.leaves().keySet());
    own.forEach(
        (name, gradient) ->
            rule.add(
                name,
                IntStream.range(0, gradient.length).mapToDouble(i -> gradient[i]).toArray(),
                gradient(peer, name),
                gradient(exact, name),
                LibtorchRule.FP32));
  }

  private static double backward(Twin.Pass pass) {
    pass.loss().backward();
    return pass.loss().item_double();
  }

  static double[] gradient(Twin twin, String name) {
    Tensor leaf = twin.leaves().get(name);
    Tensor grad = leaf.grad();
    return grad.defined() ? Torch.values(grad) : new double[Math.toIntExact(leaf.numel())];
  }

  /** Logits of what is real: padding and empty sequences have none. */
  private void logits(
      Network network,
      PaddedBatch batch,
      int draw,
      LibtorchRule rule,
      Twin.Pass exact,
      Twin.Pass peer) {
    int[] real = IntStream.range(0, batch.sequences).filter(b -> batch.lengths[b] > 0).toArray();
    int[] tokens = IntStream.range(0, batch.packed.liveTokens).toArray();
    int[] labelled =
        IntStream.of(tokens).filter(row -> batch.packed.labels[row] != Batch.IGNORED).toArray();
    int precision = dtype == DType.FLOAT32 ? LibtorchRule.FP32 : LibtorchRule.BF16;
    try (LogitsStep step = new LogitsStep(network, Limits.of(batch.packed), dropout)) {
      step.run(batch.packed, TwinBatches.SEED, draw);
      exact
          .logits()
          .forEach(
              (rows, logits) -> {
                boolean everyToken = rows == Twin.Rows.TOKENS && step.tokens(tokens) != null;
                double[] own =
                    switch (rows) {
                      case TOKENS -> everyToken ? step.tokens(tokens) : step.vocabulary(tokens);
                      case LABELLED -> step.vocabulary(labelled);
                      case SEQUENCES -> step.sequences(real);
                    };
                int[] cells =
                    switch (rows) {
                      case TOKENS -> batch.cells;
                      case LABELLED -> IntStream.range(0, labelled.length).toArray();
                      case SEQUENCES -> real;
                    };
                rule.add(
                    LOGITS + rows,
                    own,
                    at(peer.logits().get(rows), cells),
                    at(logits, cells),
                    precision);
              });
    }
  }

  private static double[] at(Tensor logits, int[] rows) {
    double[] all = Torch.values(logits);
    int columns = (int) logits.size(1);
    return IntStream.of(rows)
        .flatMap(row -> IntStream.range(row * columns, (row + 1) * columns))
        .mapToDouble(i -> all[i])
        .toArray();
  }

  /** The loss of one training step's forward and backward pass; gradients stay in the network. */
  private double step(Network network, Batch batch, int rngStep) {
    long labels0 = network.lossLabels(batch, 0);
    long labels1 = network.lossLabels(batch, 1);
    double share = network.lossShare();
    try (TrainStep step =
        new TrainStep(network, Limits.of(batch), OptimizerOptions.defaults(), dropout)) {
      device.lossReset();
      step.forwardBackward(
          batch, TwinBatches.SEED, rngStep, over(share, labels0), over(share, labels1));
      device.stepRead();
    }
    return mean(share, labels0, 0) + mean(share, labels1, 1);
  }

  private double mean(double share, long labels, int slot) {
    assertThat(device.lossCount(slot)).as("labels of loss %d", slot).isEqualTo(labels);
    return labels == 0 ? 0 : share * device.lossSum(slot) / labels;
  }

  private static float over(double share, long labels) {
    return labels == 0 ? 0 : (float) (share / labels);
  }
}
