package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.data.Batch;
import dev.graft.model.Network;
import dev.graft.model.Optimizer;
import dev.graft.model.Parameters.Parameter;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TrainerTest {
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

  private static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning()
        .steps(steps)
        .learningRate(1e-3)
        .schedule(Schedule.CONSTANT)
        .warmupSteps(0);
  }

  /**
   * Oracle: the definition. r is as long as it may be, and |w| / |r| of it makes the step |w| times
   * the rate, for every parameter that decays.
   */
  @Test
  void lamb_movesEachMatrixByTheRateTimesItsLength() {
    double rate = 1e-3;
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0);
        Network before = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0)) {
      new Trainer(
              network,
              new Toys.Source(Kind.GPT, 4, 3),
              options(1).optimizer(Optimizer.LAMB).learningRate(rate).build())
          .run();
      Iterator<Parameter> old = before.parameters().all().iterator();
      int matrices = 0;
      for (Parameter p : network.parameters().all()) {
        float[] a = p.weight().floats();
        float[] b = old.next().weight().floats();
        double length = 0;
        double step = 0;
        for (int i = 0; i < a.length; i++) {
          length += (double) b[i] * b[i];
          step += Math.pow((double) a[i] - b[i], 2);
        }
        if (p.matrix()) {
          assertThat(Math.sqrt(step / length)).as(p.name()).isCloseTo(rate, within(1e-3 * rate));
          matrices++;
        }
      }
      assertThat(matrices).isGreaterThan(5);
    }
  }

  /**
   * Two batches of 4 accumulated are one of 8, though their labels are unequal in number. Oracle:
   * the batch of 8. Tolerance: 1e-5 of the largest weight of a tensor; the gradients' sums are
   * rounded in another order, and Adam's first steps divide by a small root.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void accumulating2xB_equals1x2B_withinRounding(Kind kind) {
    try (Network split = Toys.network(device, kind, DType.FLOAT32, 1, 0);
        Network whole = Toys.network(device, kind, DType.FLOAT32, 1, 0)) {
      // eps 1e-3: elements whose gradient is rounding noise alone would move by a full step
      // otherwise.
      TrainingOptions.Builder options = options(4).eps(1e-3);
      new Trainer(split, new Toys.Source(kind, 4, 3), options.gradientAccumulation(2).build())
          .run();
      new Trainer(whole, new Toys.Source(kind, 8, 3), options.gradientAccumulation(1).build())
          .run();
      Iterator<Parameter> other = whole.parameters().all().iterator();
      for (Parameter p : split.parameters().all()) {
        float[] a = p.weight().floats();
        float[] b = other.next().weight().floats();
        double largest = 1e-3;
        double difference = 0;
        for (int i = 0; i < a.length; i++) {
          largest = Math.max(largest, Math.abs(b[i]));
          difference = Math.max(difference, Math.abs(a[i] - b[i]));
        }
        assertThat(difference).as(p.name()).isLessThan(1e-5 * largest);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void lossFalls(Kind kind) {
    List<Double> losses = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            losses.add(event.loss());
          }
        };
    try (Network network = Toys.network(device, kind, DType.FLOAT32, 1, 0.1)) {
      // Ten batches over and over: all of it can be learnt by heart.
      Toys.Source source =
          new Toys.Source(kind, 8, 3) {
            @Override
            public void fill(long index, Batch batch) {
              super.fill(index % 10, batch);
            }
          };
      new Trainer(network, source, options(150).learningRate(3e-3).listener(listener).build())
          .run();
    }
    assertThat(losses).hasSize(15);
    assertThat(losses.get(14)).isLessThan(0.8 * losses.get(0));
  }

  /** Puts NaN into the gradient of some steps. */
  private static final class Poisoned extends Toys.Source {
    private final Network network;
    private final Set<Long> indices;
    private final int parameter;

    Poisoned(Network network, int parameter, Set<Long> indices) {
      super(Kind.GPT, 5, 3);
      this.network = network;
      this.parameter = parameter;
      this.indices = indices;
    }

    @Override
    public void fill(long index, Batch batch) {
      if (indices.contains(index)) {
        Parameter p = network.parameters().all().get(parameter);
        float value = index % 2 == 0 ? Float.NaN : Float.POSITIVE_INFINITY;
        p.grad().put(p.grad().count() / 2, new float[] {value});
      }
      super.fill(index, batch);
    }
  }

  @Test
  void nonFiniteGradientOfAnyTensor_leavesWeightsAndIsCounted() {
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.1)) {
      int tensors = network.parameters().all().size();
      for (int parameter = 0; parameter < tensors; parameter++) {
        Map<String, String> before = Toys.weights(network);
        TrainingResult result =
            new Trainer(network, new Poisoned(network, parameter, Set.of(0L)), options(1).build())
                .run();
        assertThat(Toys.weights(network)).isEqualTo(before);
        assertThat(result.skippedSteps()).isEqualTo(1);
      }
      // The step behind a skipped one is as if that had not been.
      Map<String, String> before = Toys.weights(network);
      TrainingResult result =
          new Trainer(network, new Poisoned(network, 3, Set.of(0L, 2L)), options(4).build()).run();
      assertThat(result.skippedSteps()).isEqualTo(2);
      assertThat(Toys.weights(network)).isNotEqualTo(before);
      assertThat(Toys.state(network).values()).doesNotContainNull();
      for (Parameter p : network.parameters().all()) {
        for (float w : p.weight().floats()) {
          assertThat(Float.isFinite(w)).isTrue();
        }
      }
    }
  }

  @Test
  void tooManySkippedInARow_endTheRunWithWeightsAsBefore() {
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.1)) {
      Set<Long> all =
          java.util.stream.LongStream.range(0, 100)
              .boxed()
              .collect(java.util.stream.Collectors.toSet());
      Map<String, String> before = Toys.weights(network);
      Trainer trainer =
          new Trainer(
              network,
              new Poisoned(network, 0, all),
              options(100).logEvery(4).maxSkippedInARow(6).build());
      assertThatThrownBy(trainer::run)
          .isInstanceOf(NonFiniteTrainingException.class)
          .hasMessageContaining("stopped at step 6")
          .hasMessageContaining("learning rate");
      assertThat(Toys.weights(network)).isEqualTo(before);
    }
  }

  @Test
  void cancelledFromAnotherThread_savesAndSaysHowToGoOn() throws Exception {
    CancellationToken token = new CancellationToken();
    Path run = folder.resolve("run");
    Thread canceller =
        new Thread(
            () -> {
              while (!Files.exists(run.resolve("metrics.jsonl"))) {
                Thread.onSpinWait();
              }
              token.cancel();
              token.cancel();
            });
    canceller.start();
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.1)) {
      TrainingResult result =
          new Trainer(
                  network,
                  new Toys.Source(Kind.GPT, 5, 3),
                  options(1_000_000).runDirectory(run).cancellation(token).build())
              .run();
      assertThat(result.cancelled()).isTrue();
      assertThat(result.modelDirectory()).isNull();
      assertThat(CheckpointStore.damage(result.lastCheckpoint())).isEmpty();
      assertThat(result.summary()).contains("--resume", result.lastCheckpoint().toString());
      assertThat(token.awaitEnd(1, TimeUnit.SECONDS)).isTrue();
    }
    canceller.join();
  }

  @Test
  void evaluation_isScheduledAndTheBestModelKept() {
    List<EvalEvent> events = new ArrayList<>();
    double[] scores = {0.2, 0.9, 0.4};
    Evaluator evaluator =
        new Evaluator() {
          private int calls;

          @Override
          public Map<String, Double> evaluate(Network network) {
            return Map.of("score", scores[calls++], "other", 1.0);
          }

          @Override
          public String mainMetric() {
            return "score";
          }

          @Override
          public boolean higherIsBetter() {
            return true;
          }
        };
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onEvaluation(EvalEvent event) {
            events.add(event);
          }
        };
    Path run = folder.resolve("run");
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.1)) {
      TrainingResult result =
          new Trainer(
                  network,
                  new Toys.Source(Kind.GPT, 5, 3),
                  into -> dev.graft.io.AtomicFiles.write(into.resolve("vocab.txt"), "a"),
                  evaluator,
                  options(10).evalEvery(4).runDirectory(run).listener(listener).build())
              .run();
      assertThat(events).extracting(EvalEvent::step).containsExactly(4L, 8L, 10L);
      assertThat(events).extracting(EvalEvent::best).containsExactly(true, true, false);
      assertThat(result.bestMetric()).isEqualTo(0.9);
      assertThat(result.bestStep()).isEqualTo(8);
      assertThat(result.weightsStep()).isEqualTo(8);
      assertThat(result.lastEvaluation()).containsEntry("score", 0.9);
    }
    for (String directory : new String[] {"best", "model"}) {
      assertThat(run.resolve(directory))
          .isDirectoryContaining("glob:**/config.json")
          .isDirectoryContaining("glob:**/model.safetensors")
          .isDirectoryContaining("glob:**/vocab.txt");
    }
    assertThat(run.resolve("metrics.jsonl")).content().contains("\"score\":0.9");
  }

  /** Oracle: the JVM's own count of bytes allocated by this thread, from a fill to the next. */
  @Test
  void step_allocatesNothingInItsSteadyState() {
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    long[] before = new long[400];
    long[] after = new long[400];
    Toys.Source source =
        new Toys.Source(Kind.BERT_PRETRAINING, 6, 3) {
          @Override
          public void fill(long index, Batch batch) {
            // Called once a step; the first passes meet every bucket.
            before[(int) index] = threads.getCurrentThreadAllocatedBytes();
            super.fill(index % 40, batch);
            // The toy's own key arrays are not the trainer's.
            after[(int) index] = threads.getCurrentThreadAllocatedBytes();
          }
        };
    try (Network network = Toys.network(device, Kind.BERT_PRETRAINING, DType.FLOAT32, 1, 0.1)) {
      new Trainer(network, source, options(400).logEvery(1000).build()).run();
    }
    // What a step allocates it allocates each time; the compiler, when it throws a method's code
    // away, puts objects it had kept in registers on the heap: a few times in a run.
    int allocating = 0;
    for (int i = 201; i < 400; i++) {
      allocating += before[i] > after[i - 1] ? 1 : 0;
    }
    assertThat(allocating).isLessThan(10);
    assertThat(before[1] - after[0]).isPositive();
  }

  @Test
  void dtypeThatIsNotTheNetworks_isNamed() {
    try (Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.1)) {
      assertThatThrownBy(
              () ->
                  new Trainer(
                      network,
                      new Toys.Source(Kind.GPT, 5, 3),
                      options(1).dtype(DType.BFLOAT16).build()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("dtype: expected the network's fp32, got bf16");
    }
  }
}
