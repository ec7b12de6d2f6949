package dev.graft.verify;

import dev.graft.data.Batch;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Gemm.Fusing;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Whole training steps of small GPT-2s and BERTs on a device beside the CPU's, from the same
 * weights and with the same dropout masks: forward and backward over two micro-batches, clipping,
 * AdamW. Where the device captures work, the second of the four steps captures and the others
 * launch.
 *
 * <p>Oracle: the CPU backend in fp32. A tensor may be off by
 *
 * <ul>
 *   <li>in fp32: 2e-5 of its largest value, for sums are added in another order;
 *   <li>in bf16: twice what the CPU backend itself is off in bf16, and two units in the last place
 *       of its largest value.
 * </ul>
 *
 * Tensors that are zero in exact arithmetic (the gradient of BERT's key bias) are judged by a
 * thousandth of the model's largest.
 */
public final class StepCheck {
  private static final int STEPS = 4;
  private static final int MICRO_STEPS = 2;
  private static final long SEED = 5;
  private static final double FP32_TOLERANCE = 2e-5;
  private static final double BF16_ULP = 1.0 / 256;
  private static final double LEAST_SCALE = 1e-3;

  /** As large as gradients are: or Adam would make a whole step of one that is rounding alone. */
  private static final float EPS = 1e-3f;

  /** What is compared. */
  public enum Case {
    GPT2_FP32(SmallModel.GPT2, DType.FLOAT32, 0),
    GPT2_FP32_DROPOUT(SmallModel.GPT2, DType.FLOAT32, 0.1),
    GPT2_BF16_DROPOUT(SmallModel.GPT2, DType.BFLOAT16, 0.1),
    BERT_PRETRAINING_FP32_DROPOUT(SmallModel.BERT_PRETRAINING, DType.FLOAT32, 0.1),
    BERT_PRETRAINING_BF16_DROPOUT(SmallModel.BERT_PRETRAINING, DType.BFLOAT16, 0.1),
    BERT_CLASSIFICATION_FP32_DROPOUT(SmallModel.BERT_CLASSIFICATION, DType.FLOAT32, 0.1),
    BERT_CLASSIFICATION_BF16(SmallModel.BERT_CLASSIFICATION, DType.BFLOAT16, 0),
    GPT2_FP32_FUSED(SmallModel.GPT2, DType.FLOAT32, 0, Fusing.ALWAYS),
    GPT2_FP32_SEPARATE(SmallModel.GPT2, DType.FLOAT32, 0, Fusing.NEVER),
    GPT2_BF16_DROPOUT_FUSED(SmallModel.GPT2, DType.BFLOAT16, 0.1, Fusing.ALWAYS),
    GPT2_BF16_DROPOUT_SEPARATE(SmallModel.GPT2, DType.BFLOAT16, 0.1, Fusing.NEVER),
    BERT_PRETRAINING_BF16_FUSED(SmallModel.BERT_PRETRAINING, DType.BFLOAT16, 0, Fusing.ALWAYS),
    BERT_PRETRAINING_BF16_SEPARATE(SmallModel.BERT_PRETRAINING, DType.BFLOAT16, 0, Fusing.NEVER);

    private final SmallModel model;
    private final DType dtype;
    private final double dropout;
    private final Fusing fusing; // null: as the device does

    Case(SmallModel model, DType dtype, double dropout) {
      this(model, dtype, dropout, null);
    }

    Case(SmallModel model, DType dtype, double dropout, Fusing fusing) {
      this.model = model;
      this.dtype = dtype;
      this.dropout = dropout;
      this.fusing = fusing;
    }
  }

  /**
   * How far one tensor is off.
   *
   * @param error largest difference to the oracle; infinite if there is a NaN
   * @param allowed how much may be
   */
  public record Finding(String tensor, double error, double allowed) {
    public boolean right() {
      return error <= allowed;
    }
  }

  private StepCheck() {}

  /**
   * Compares a device with the CPU.
   *
   * @return a finding a tensor: losses and norms of the steps, gradients of the first, weights at
   *     the end
   * @throws dev.graft.bindings.GraftException.Unsupported if the device lacks an op
   */
  public static List<Finding> compare(Device device, Case what) {
    Map<String, float[]> exact;
    Map<String, float[]> reference;
    try (Device cpu = Device.cpu()) {
      exact = course(cpu, what, DType.FLOAT32);
      reference = what.dtype == DType.FLOAT32 ? exact : course(cpu, what, what.dtype);
    }
    device.activate();
    Map<String, float[]> got = course(device, what, what.dtype);
    double largestGradient =
        exact.entrySet().stream()
            .filter(e -> e.getKey().startsWith("gradient "))
            .mapToDouble(e -> largest(e.getValue()))
            .max()
            .orElse(0);
    List<Finding> findings = new ArrayList<>();
    exact.forEach(
        (name, values) ->
            findings.add(
                judge(
                    name,
                    values,
                    reference.get(name),
                    got.get(name),
                    what.dtype,
                    LEAST_SCALE * (name.startsWith("gradient ") ? largestGradient : 1))));
    return findings;
  }

  /**
   * Trains several times from the same state.
   *
   * @return the tensors that did not come out with the same bits each time
   */
  public static List<String> repeat(Device device, Case what, int times) {
    device.activate();
    Map<String, float[]> first = course(device, what, what.dtype);
    List<String> different = new ArrayList<>();
    for (int i = 1; i < times; i++) {
      Map<String, float[]> again = course(device, what, what.dtype);
      first.forEach(
          (name, values) -> {
            if (!Arrays.equals(values, again.get(name)) && !different.contains(name)) {
              different.add(name);
            }
          });
    }
    return different;
  }

  private static Map<String, float[]> course(Device device, Case what, DType dtype) {
    if (device.isHost() || what.fusing == null) {
      return steps(device, what, dtype);
    }
    Fusing own = device.gemm().fusing();
    device.gemm().fuse(what.fusing);
    try {
      return steps(device, what, dtype);
    } finally {
      device.gemm().fuse(own);
    }
  }

  private static Map<String, float[]> steps(Device device, Case what, DType dtype) {
    Map<String, float[]> seen = new LinkedHashMap<>();
    float[] losses = new float[2 * STEPS];
    float[] norms = new float[STEPS];
    OptimizerOptions options =
        new OptimizerOptions(0.9f, 0.999f, EPS, 0.1f, OptimizerOptions.Decay.MATRICES, 0.25f);
    Batch batch = SmallModel.newBatch();
    try (Network network = network(device, what, dtype);
        TrainStep step = new TrainStep(network, Limits.of(batch), options)) {
      for (int s = 0; s < STEPS; s++) {
        for (int micro = 0; micro < MICRO_STEPS; micro++) {
          long number = (long) MICRO_STEPS * s + micro;
          what.model.fill(number, batch);
          step.forwardBackward(batch, 11, number, 1f / 40, 1f / 10);
        }
        if (s == 0) {
          network
              .parameters()
              .gradients()
              .forEach((name, values) -> seen.put("gradient of " + name, values));
        }
        step.update(1e-3f);
        device.stepRead();
        losses[2 * s] = (float) (device.lossSum(0) / Math.max(1, device.lossCount(0)));
        losses[2 * s + 1] = (float) (device.lossSum(1) / Math.max(1, device.lossCount(1)));
        norms[s] = device.gradNorm();
        device.lossReset();
      }
      seen.put("losses", losses);
      seen.put("gradient norms", norms);
      for (Parameter p : network.parameters().all()) {
        seen.put(p.name(), p.weight().floats());
      }
    }
    return seen;
  }

  /** The network with weights of the CPU, for floats drawn on devices differ in the last bit. */
  private static Network network(Device device, Case what, DType dtype) {
    Network network =
        Network.create(device, what.model.config(what.dropout), what.model.task, dtype, SEED);
    if (device.isHost()) {
      return network;
    }
    try (Device cpu = Device.cpu();
        Network source =
            Network.create(cpu, what.model.config(what.dropout), what.model.task, dtype, SEED)) {
      List<Parameter> from = source.parameters().all();
      for (int i = 0; i < from.size(); i++) {
        network.parameters().all().get(i).weight().put(0, from.get(i).weight().floats());
      }
    }
    device.activate();
    network.parameters().syncCompute();
    return network;
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  private static Finding judge(
      String name, float[] exact, float[] reference, float[] got, DType dtype, double least) {
    double scale = Math.max(largest(exact), least);
    double own = 0;
    double error = 0;
    for (int i = 0; i < exact.length; i++) {
      own = Math.max(own, Math.abs(reference[i] - exact[i]));
      double off = Math.abs(got[i] - exact[i]);
      error = Double.isNaN(off) ? Double.POSITIVE_INFINITY : Math.max(error, off);
    }
    return new Finding(
        name,
        error,
        dtype == DType.FLOAT32 ? FP32_TOLERANCE * scale : 2 * own + 2 * BF16_ULP * scale);
  }
}
