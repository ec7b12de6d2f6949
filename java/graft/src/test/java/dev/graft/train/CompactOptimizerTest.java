package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.model.Optimizer;
import dev.graft.model.Parameters.Parameter;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Trainings with moments of bf16 and split master weights. */
class CompactOptimizerTest {
  @TempDir Path folder;

  private static void assume(String device) {
    if (device.equals("emulate")) {
      String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
      assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    }
  }

  private static TrainingOptions.Builder options(DType dtype, Optimizer optimizer) {
    return TrainingOptions.finetuning()
        .steps(8)
        .gradientAccumulation(2)
        .learningRate(3e-3)
        .weightDecay(0.1)
        .optimizer(optimizer)
        .dtype(dtype)
        .optimizerState(DType.BFLOAT16)
        .logEvery(1);
  }

  private static Map<String, String> run(String on, DType dtype, TrainingOptions options) {
    try (Device device = Device.open(on, 0);
        Network network = Toys.network(device, Kind.GPT, dtype, 1, 0.2)) {
      new Trainer(network, new Toys.Source(Kind.GPT, 5, 3), options).run();
      return Toys.state(network);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "cpu, BFLOAT16, ADAMW",
    "cpu, BFLOAT16, LAMB",
    "cpu, FLOAT32, ADAMW",
    "emulate, BFLOAT16, ADAMW",
    "emulate, BFLOAT16, LAMB"
  })
  void stoppedAndResumed_equalsUninterrupted(String on, DType dtype, Optimizer optimizer) {
    assume(on);
    Map<String, String> whole = run(on, dtype, options(dtype, optimizer).build());
    CancellationToken stop = new CancellationToken();
    TrainingListener atThree =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            if (event.step() == 3) {
              stop.cancel();
            }
          }
        };
    TrainingOptions.Builder saved =
        options(dtype, optimizer).runDirectory(folder.resolve(on + dtype + optimizer));
    assertThat(run(on, dtype, saved.listener(atThree).cancellation(stop).build()))
        .isNotEqualTo(whole);
    TrainingOptions rest =
        saved
            .listener(TrainingListener.NONE)
            .cancellation(new CancellationToken())
            .resume(true)
            .build();
    assertThat(run(on, dtype, rest)).isEqualTo(whole);
  }

  private static Map<String, float[]> masters(Network network) {
    Map<String, float[]> values = new LinkedHashMap<>();
    for (Parameter p : network.parameters().all()) {
      values.put(p.name(), p.weight().floats());
    }
    return values;
  }

  /** Splitting and joining change no bit of a master, and the weights are its nearest bf16. */
  @ParameterizedTest
  @ValueSource(strings = {"cpu", "emulate"})
  void mastersAreExact_andTakeSixBytesLessAParameter(String on) {
    assume(on);
    try (Device device = Device.open(on, 0);
        Network network = Toys.network(device, Kind.GPT, DType.BFLOAT16, 1, 0)) {
      Map<String, float[]> before = masters(network);
      long parameters = before.values().stream().mapToLong(x -> x.length).sum();
      network.enableTraining(DType.FLOAT32);
      long full = bytes(device);
      network.enableTraining(DType.BFLOAT16);
      assertThat(full - bytes(device)).isCloseTo(6 * parameters, within(20_000L));
      for (Parameter p : network.parameters().all()) {
        assertThat(p.weight().isSplit()).isTrue();
        assertThat(p.weight().floats()).containsExactly(before.get(p.name()));
        float[] rounded = p.compute().floats();
        float[] exact = before.get(p.name());
        for (int i = 0; i < exact.length; i++) {
          // Half a spacing of bf16: 2^-9 of the value.
          assertThat(rounded[i]).isCloseTo(exact[i], within(Math.abs(exact[i]) / 256 + 1e-38f));
        }
        if (p.weight().count() > 10) {
          assertThat(p.weight().view(3, 5).floats())
              .containsExactly(java.util.Arrays.copyOfRange(exact, 3, 8));
        }
      }
      network.disableTraining();
      for (Parameter p : network.parameters().all()) {
        assertThat(p.weight().isSplit()).isFalse();
        assertThat(p.weight().floats()).containsExactly(before.get(p.name()));
      }
    }
  }

  private static long bytes(Device device) {
    return device.held().values().stream().mapToLong(Long::longValue).sum();
  }

  /** Oracle: the same training with state in fp32; the tail of both curves, within their noise. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void losses_fallAsWithStateInFp32(DType dtype) {
    double full = tail(dtype, DType.FLOAT32);
    double compact = tail(dtype, DType.BFLOAT16);
    assertThat(full).isLessThan(2.5);
    assertThat(compact).isCloseTo(full, within(0.05 * full));
  }

  /** Mean loss of the last 50 of 300 steps. */
  private static double tail(DType dtype, DType state) {
    List<Double> losses = new ArrayList<>();
    TrainingOptions options =
        TrainingOptions.finetuning()
            .steps(300)
            .learningRate(5e-3)
            .dtype(dtype)
            .optimizerState(state)
            .logEvery(1)
            .listener(
                new TrainingListener() {
                  @Override
                  public void onStep(StepEvent event) {
                    losses.add(event.loss());
                  }
                })
            .build();
    try (Device device = Device.cpu();
        Network network = Toys.network(device, Kind.GPT, dtype, 1, 0)) {
      new Trainer(network, new Toys.Source(Kind.GPT, 5, 3), options).run();
    }
    return losses.subList(250, 300).stream()
        .mapToDouble(Double::doubleValue)
        .average()
        .orElseThrow();
  }

  /** An adapter's masters stay whole, and so do those of the network under it. */
  @ParameterizedTest
  @ValueSource(strings = {"cpu"})
  void adapters_trainWithCompactMoments(String on) {
    try (Device device = Device.open(on, 0);
        Network network = Toys.network(device, Kind.GPT, DType.BFLOAT16, 1, 0)) {
      Map<String, float[]> before = masters(network);
      new Trainer(
              network,
              new Toys.Source(Kind.GPT, 5, 3),
              options(DType.BFLOAT16, Optimizer.ADAMW).lora(Lora.rank(2)).build())
          .run();
      for (Parameter p : network.parameters().all()) {
        assertThat(p.weight().isSplit()).isFalse();
        if (before.containsKey(p.name())) {
          assertThat(p.weight().floats()).containsExactly(before.get(p.name()));
        } else {
          assertThat(p.firstMoment().dtype()).isEqualTo(DType.BFLOAT16);
        }
      }
    }
  }
}
