package dev.graft.bench;

import dev.graft.model.Network;
import dev.graft.runtime.DType;
import dev.graft.verify.StepRun;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** A training step with its libtorch twin in the same process, eager, if asked for. */
final class StepBench implements AutoCloseable {
  private final StepRun step;
  private PointerScope scope;
  private Twin twin;
  private PaddedBatch padded;
  private TensorVector leaves;
  private AdamW optimizer;

  /** The step is closed with this. */
  StepBench(StepRun step) {
    this.step = step;
  }

  void runGraft() {
    step.run();
  }

  /** Builds the twin from the weights as they are now. */
  void prepareTorch() {
    Network network = step.network();
    scope = new PointerScope();
    twin = Twin.of(network, network.dtype() == DType.BFLOAT16 ? Torch.BF16 : Torch.F32);
    padded = new PaddedBatch(step.batch());
    leaves = new TensorVector(twin.leaves().values().toArray(new Tensor[0]));
    AdamWOptions options = new AdamWOptions(StepRun.LEARNING_RATE);
    options.weight_decay().put(StepRun.WEIGHT_DECAY);
    optimizer = new AdamW(leaves, options);
  }

  void runTorch() {
    try (PointerScope intermediates = new PointerScope()) {
      optimizer.zero_grad();
      twin.loss(padded, null).backward();
      torch.clip_grad_norm_(leaves, StepRun.CLIP);
      optimizer.step();
    }
  }

  /** The step as Graft runs it. */
  StepRun step() {
    return step;
  }

  @Override
  public void close() {
    if (scope != null) {
      scope.close();
    }
    step.close();
  }
}
