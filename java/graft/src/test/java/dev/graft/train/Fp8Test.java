package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recompute;
import dev.graft.model.Task;
import dev.graft.model.TrainStep;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Training with products of 8-bit floats on the emulated device, beside the same in bf16. A value
 * in E4M3 is off by up to 1/16 of itself, one in E5M2 by 1/8, at random; so a gradient is off by a
 * few per cent of its length, and a product with an operand transposed or a scale left out by all
 * of it.
 */
class Fp8Test {
  private static Device device() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    return Device.emulated();
  }

  private record Course(
      double[] losses, Map<String, float[]> gradients, Map<String, String> weights, int calls) {}

  private static Course train(
      Device device, Kind kind, int steps, boolean lora, Recompute recompute, boolean fp8) {
    BatchSource data = new Toys.Source(kind, 7, 3);
    Batch batch = data.newBatch();
    OptimizerOptions options =
        new OptimizerOptions(0.9f, 0.99f, 1e-8f, 0.1f, OptimizerOptions.Decay.MATRICES, 1f);
    double[] losses = new double[steps];
    Map<String, float[]> gradients = new LinkedHashMap<>();
    try (Network network = Toys.network(device, kind, DType.BFLOAT16, 1, 0)) {
      if (lora) {
        network.attach(Lora.rank(4), 5);
      }
      try (TrainStep step =
          new TrainStep(network, Limits.of(batch), options, true, recompute, fp8)) {
        for (int s = 0; s < steps; s++) {
          for (int micro = 0; micro < 2; micro++) {
            data.fill(2 * s + micro, batch);
            step.forwardBackward(batch, 11, 2 * s + micro, 0.01f, 0.02f);
          }
          device.stepRead();
          losses[s] = device.lossSum(0) / Math.max(1, device.lossCount(0));
          if (s == 0) {
            for (Parameter p : network.parameters().all()) {
              if (p.trainable()) {
                gradients.put(p.name(), p.grad().floats());
              }
            }
          }
          step.update(5e-3f);
          device.stepRead();
          assertThat(device.skipped()).isFalse();
          device.lossReset();
        }
        return new Course(losses, gradients, Toys.weights(network), step.calls());
      }
    }
  }

  /** Length of the difference, by the length of the second. */
  private static double off(float[] got, float[] exact) {
    double difference = 0;
    double length = 0;
    for (int i = 0; i < exact.length; i++) {
      difference += Math.pow((double) got[i] - exact[i], 2);
      length += (double) exact[i] * exact[i];
    }
    return Math.sqrt(difference / length);
  }

  @ParameterizedTest
  @EnumSource(
      value = Kind.class,
      names = {"GPT", "BERT_PRETRAINING"})
  void gradients_areThoseOfBf16_butForRoundings(Kind kind) {
    try (Device device = device()) {
      Course bf16 = train(device, kind, 1, false, Recompute.NONE, false);
      Course fp8 = train(device, kind, 1, false, Recompute.NONE, true);
      assertThat(fp8.calls).isGreaterThan(bf16.calls);
      assertThat(fp8.losses[0]).isNotEqualTo(bf16.losses[0]);
      assertThat(fp8.losses[0] / bf16.losses[0]).isBetween(0.99, 1.01);
      bf16.gradients.forEach(
          (name, exact) -> {
            // The key's bias has none but by rounding.
            if (!name.endsWith("qkv.bias")) {
              assertThat(off(fp8.gradients.get(name), exact)).as(name).isLessThan(0.15);
            }
          });
    }
  }

  /** The adapters' own products stay in bf16, over 8-bit ones of the frozen weights. */
  @Test
  void adapters_trainOverIt() {
    try (Device device = device()) {
      Course bf16 = train(device, Kind.GPT, 2, true, Recompute.NONE, false);
      Course fp8 = train(device, Kind.GPT, 2, true, Recompute.NONE, true);
      assertThat(fp8.losses[1] / bf16.losses[1]).isBetween(0.99, 1.01);
      bf16.gradients.forEach(
          (name, exact) -> {
            if (name.contains("lora_B")) { // A's is 0 at the beginning, for B is
              assertThat(off(fp8.gradients.get(name), exact)).as(name).isLessThan(0.15);
            }
          });
    }
  }

  /** A loss that falls as bf16's does, and the same bits each time, whatever is computed again. */
  @Test
  void losses_fallAsInBf16_withTheSameBits() {
    int steps = 12;
    try (Device device = device()) {
      Course bf16 = train(device, Kind.GPT, steps, false, Recompute.NONE, false);
      Course fp8 = train(device, Kind.GPT, steps, false, Recompute.NONE, true);
      double fallen = bf16.losses[0] - bf16.losses[steps - 1];
      assertThat(fallen).isGreaterThan(0.5);
      for (int s = 0; s < steps; s++) {
        assertThat(Math.abs(fp8.losses[s] - bf16.losses[s]))
            .as("step %d", s)
            .isLessThan(0.05 * fallen);
      }
      Course block = train(device, Kind.GPT, steps, false, Recompute.BLOCK, true);
      assertThat(block.weights).isEqualTo(fp8.weights);
      Course activation = train(device, Kind.GPT, steps, false, Recompute.ACTIVATION, true);
      assertThat(activation.weights).isEqualTo(fp8.weights);
    }
  }

  @Test
  void whereItCannotBe_itIsRefused() {
    try (Device cpu = Device.cpu();
        Network network = Toys.network(cpu, Kind.GPT, DType.BFLOAT16, 1, 0)) {
      refused(network, "fp8: expected a card of compute capability 8.9 or later, got cpu");
    }
    try (Device device = device()) {
      try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0)) {
        refused(network, "fp8: expected a network in bf16, got fp32");
      }
      try (Network network =
          Network.create(
              device, Gpt2Config.of(97, 24, 24, 2, 2), Task.CAUSAL_LM, DType.BFLOAT16, 1)) {
        refused(network, "fp8: expected sizes that are multiples of 16, got");
      }
    }
  }

  private static void refused(Network network, String message) {
    OptimizerOptions options =
        new OptimizerOptions(0.9f, 0.99f, 1e-8f, 0.1f, OptimizerOptions.Decay.MATRICES, 1f);
    Limits limits = Limits.of(new Toys.Source(Kind.GPT, 7, 3).newBatch());
    assertThatThrownBy(() -> new TrainStep(network, limits, options, true, Recompute.NONE, true))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(message);
  }
}
