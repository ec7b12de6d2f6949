package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Training with low-rank adapters: what changes, and that a resume is exact. */
class LoraTrainingTest {
  @TempDir Path folder;
  private Device device;

  @BeforeEach
  void device() {
    device = Device.cpu();
  }

  @AfterEach
  void close() {
    device.close();
  }

  private static TrainingOptions.Builder options(DType dtype) {
    return TrainingOptions.finetuning()
        .steps(8)
        .learningRate(3e-3)
        .gradientAccumulation(2)
        .dtype(dtype)
        .logEvery(1)
        .lora(Lora.rank(3).alpha(4).dropout(0.2).targets(Lora.ALL_LINEAR));
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void adaptersAndHeadsTrain_theRestKeepsEveryBit(Kind kind) {
    try (Network network = Toys.network(device, kind, DType.FLOAT32, 1, 0.1)) {
      Map<String, String> before = Toys.weights(network);
      double[] losses = new double[2];
      TrainingListener listener =
          new TrainingListener() {
            @Override
            public void onStep(StepEvent event) {
              losses[event.step() == 1 ? 0 : 1] = event.loss();
            }
          };
      TrainingOptions training = options(DType.FLOAT32).steps(60).listener(listener).build();
      new Trainer(network, new Toys.Source(kind, 8, 3), training).run();
      // Over random weights a language model has little to learn with.
      if (kind == Kind.BERT_CLASSIFICATION) {
        assertThat(losses[1]).isLessThan(0.95 * losses[0]);
      }
      Set<String> changed = new HashSet<>();
      for (Parameter p : network.parameters().all()) {
        boolean head = kind == Kind.BERT_CLASSIFICATION && network.depth(p) == 3;
        boolean adapter = p.name().contains("lora_");
        assertThat(p.trainable()).as(p.name()).isEqualTo(adapter || head);
        if (!Toys.weights(network).get(p.name()).equals(before.get(p.name()))) {
          changed.add(p.name());
        }
        assertThat(changed.contains(p.name())).as(p.name()).isEqualTo(adapter || head);
      }
      // The joined query, key and value have an adapter each; 6 linear layers a block in all.
      int layers = kind == Kind.GPT ? 4 : 6;
      assertThat(changed).hasSize(2 * 2 * layers + (kind == Kind.BERT_CLASSIFICATION ? 4 : 0));
    }
  }

  /** Oracle: the run that never stopped. Tolerance: none. */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void stoppedAndResumed_equalsUninterrupted(Kind kind) {
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16}) {
      Map<String, String> whole = run(kind, dtype, 1, options(dtype).build());
      Path run = folder.resolve(kind + " " + dtype);
      CancellationToken token = new CancellationToken();
      TrainingListener stop =
          new TrainingListener() {
            @Override
            public void onStep(StepEvent event) {
              if (event.step() == 5) {
                token.cancel();
              }
            }
          };
      run(
          kind,
          dtype,
          1,
          options(dtype).runDirectory(run).listener(stop).cancellation(token).build());
      Path checkpoint = run.resolve("checkpoints").resolve("step-00000005");
      assertThat(checkpoint.resolve("adapter_model.safetensors")).exists();
      assertThat(checkpoint.resolve("model.safetensors")).doesNotExist();
      TrainingOptions rest = options(dtype).runDirectory(run).resume(true).build();
      assertThat(run(kind, dtype, 1, rest)).as("%s %s", kind, dtype).isEqualTo(whole);
      assertThat(run.resolve("model/model.safetensors")).exists();
      assertThat(run.resolve("adapter/adapter_config.json")).exists();
    }
  }

  private Map<String, String> run(Kind kind, DType dtype, long seed, TrainingOptions options) {
    try (Network network = Toys.network(device, kind, dtype, seed, 0.1)) {
      new Trainer(network, new Toys.Source(kind, 5, 3), options).run();
      Map<String, String> state = new TreeMap<>(Toys.weights(network));
      for (Parameter p : network.parameters().all()) {
        if (p.trainable()) {
          state.put("m " + p.name(), Toys.hash(p.firstMoment()));
          state.put("v " + p.name(), Toys.hash(p.secondMoment()));
        }
      }
      return state;
    }
  }

  @Test
  void aResumeOverOtherWeights_isRefused() {
    Kind kind = Kind.BERT_CLASSIFICATION;
    TrainingOptions.Builder saved = options(DType.FLOAT32).runDirectory(folder.resolve("run"));
    run(kind, DType.FLOAT32, 1, saved.build());
    assertThatThrownBy(() -> run(kind, DType.FLOAT32, 2, saved.resume(true).build()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("model weights under the adapter was");
  }

  @Test
  void fullTrainingOverAnAdapter_needsAMerge() {
    Kind kind = Kind.GPT;
    try (Network network = Toys.network(device, kind, DType.FLOAT32, 1, 0)) {
      Toys.Source source = new Toys.Source(kind, 5, 3);
      new Trainer(network, source, options(DType.FLOAT32).build()).run();
      TrainingOptions full = options(DType.FLOAT32).lora(null).steps(1).build();
      assertThatThrownBy(() -> new Trainer(network, source, full).run())
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("merge it");
      network.mergeAdapter();
      assertThat(new Trainer(network, source, full).run().steps()).isEqualTo(1);
      assertThat(Files.exists(folder.resolve("run"))).isFalse();
    }
  }
}
