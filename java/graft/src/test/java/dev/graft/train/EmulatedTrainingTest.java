package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.bindings.GraftException;
import dev.graft.data.Batch;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.TrainStep;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Whole training steps of GPT-2 and BERT by the CUDA kernels, emulated, beside the CPU's: forward
 * and backward over two micro-batches, clipping, AdamW, with the same dropout masks; the third step
 * and those after it are launches of captured graphs.
 *
 * <p>Oracle: the CPU backend in fp32 from the same weights. Tolerance: in fp32 sums of other order;
 * in bf16 what the CPU backend itself is off in bf16, times two and two units in the last place of
 * the tensor's largest value. Tensors whose gradient is zero in exact arithmetic (BERT's key bias)
 * are judged by the model's largest gradient.
 */
class EmulatedTrainingTest {
  private static final int STEPS = 4;
  private static final float CLIP = 0.25f;

  @TempDir Path folder;

  @BeforeAll
  static void library() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
  }

  /** What a run left: mean losses and norms of each step, gradients of the first, weights. */
  private record Course(
      List<Double> losses,
      List<Double> norms,
      Map<String, float[]> gradients,
      Map<String, float[]> weights) {}

  private Course train(String device, Path model, Toys.Kind kind, DType dtype) {
    try (Device on = Device.open(device, 2);
        Network network = Network.load(on, model, kind.task, dtype)) {
      Toys.Source data = new Toys.Source(kind, 5, 3);
      Batch batch = data.newBatch();
      OptimizerOptions options =
          new OptimizerOptions(0.9f, 0.999f, 1e-6f, 0.1f, OptimizerOptions.Decay.MATRICES, CLIP);
      try (TrainStep step = new TrainStep(network, Limits.of(batch), options)) {
        List<Double> losses = new ArrayList<>();
        List<Double> norms = new ArrayList<>();
        Map<String, float[]> gradients = new LinkedHashMap<>();
        for (int s = 0; s < STEPS; s++) {
          for (int micro = 0; micro < 2; micro++) {
            data.fill(2 * s + micro, batch);
            step.forwardBackward(batch, 11, 2 * s + micro, 1f / 40, 1f / 10);
          }
          if (s == 0) {
            gradients = network.parameters().gradients();
          }
          step.update(1e-3f);
          on.stepRead();
          losses.add(on.lossSum(0) / Math.max(1, on.lossCount(0)));
          losses.add(on.lossSum(1) / Math.max(1, on.lossCount(1)));
          norms.add((double) on.gradNorm());
          on.lossReset();
        }
        assertThat(on.adamSteps()).isEqualTo(STEPS);
        Map<String, float[]> weights = new LinkedHashMap<>();
        network.parameters().all().forEach(p -> weights.put(p.name(), p.weight().floats()));
        return new Course(losses, norms, gradients, weights);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "GPT, FLOAT32, 0",
    "GPT, FLOAT32, 0.1",
    "GPT, BFLOAT16, 0.1",
    "BERT_PRETRAINING, FLOAT32, 0.1",
    "BERT_PRETRAINING, BFLOAT16, 0.1",
    "BERT_CLASSIFICATION, FLOAT32, 0.1",
  })
  void steps_equalTheCpus(Toys.Kind kind, DType dtype, double dropout) {
    Path model = folder.resolve("model");
    try (Device cpu = Device.cpu(2);
        Network network = Toys.network(cpu, kind, DType.FLOAT32, 5, dropout)) {
      network.save(model);
    }
    Course exact = train("cpu", model, kind, DType.FLOAT32);
    Course reference = dtype == DType.FLOAT32 ? exact : train("cpu", model, kind, dtype);
    Course got;
    try {
      got = train("emulate", model, kind, dtype);
    } catch (GraftException.Unsupported e) {
      abort(e.getMessage());
      return;
    }
    judge("losses", exact.losses, reference.losses, got.losses, dtype);
    judge("norms", exact.norms, reference.norms, got.norms, dtype);
    double largest =
        exact.gradients.values().stream()
            .mapToDouble(EmulatedTrainingTest::largest)
            .max()
            .orElse(0);
    exact.gradients.forEach(
        (name, values) ->
            judge(
                "gradient of " + name,
                values,
                reference.gradients.get(name),
                got.gradients.get(name),
                dtype,
                1e-3 * largest));
    exact.weights.forEach(
        (name, values) ->
            judge(name, values, reference.weights.get(name), got.weights.get(name), dtype, 1e-3));
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  private static void judge(
      String what, List<Double> exact, List<Double> reference, List<Double> got, DType dtype) {
    judge(what, floats(exact), floats(reference), floats(got), dtype, 0);
  }

  private static float[] floats(List<Double> values) {
    float[] out = new float[values.size()];
    for (int i = 0; i < out.length; i++) {
      out[i] = values.get(i).floatValue();
    }
    return out;
  }

  /**
   * @param least the scale of a tensor is at least this
   */
  private static void judge(
      String what, float[] exact, float[] reference, float[] got, DType dtype, double least) {
    assertThat(got).as(what).hasSameSizeAs(exact);
    double scale = Math.max(largest(exact), least);
    double allowed = dtype == DType.FLOAT32 ? 2e-5 * scale : 0;
    double error = 0;
    for (int i = 0; i < exact.length; i++) {
      if (dtype == DType.BFLOAT16) {
        allowed = Math.max(allowed, 2 * Math.abs(reference[i] - exact[i]));
      }
      double off = Math.abs(got[i] - exact[i]);
      error = Double.isNaN(off) ? Double.POSITIVE_INFINITY : Math.max(error, off);
    }
    if (dtype == DType.BFLOAT16) {
      allowed += 2 * scale / 256;
    }
    assertThat(error).as(what + ", values up to %g", scale).isLessThanOrEqualTo(allowed);
  }
}
