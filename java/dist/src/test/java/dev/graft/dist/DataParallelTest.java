package dev.graft.dist;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.io.Safetensors;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters;
import dev.graft.model.TrainStep;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Networks with dropout, trained by processes of their own over the loopback interface. */
class DataParallelTest {
  @TempDir Path folder;

  private Path weights(int rank) {
    return folder.resolve("rank-" + rank + ".safetensors");
  }

  private void assertSameBits(int rank, Path expected) throws Exception {
    assertThat(Files.mismatch(weights(rank), expected)).as("rank %d", rank).isEqualTo(-1);
  }

  /**
   * Oracle: one process that accumulates the batches of all ranks. Tolerance: 1e-5 of a tensor's
   * largest weight; accumulation adds a batch's gradients row by row to those before, ranks add
   * whole gradients.
   */
  @ParameterizedTest
  @CsvSource({"GPT, 2, 1", "BERT, 3, 2"})
  void ranks_trainWhatOneProcessWould(Toy toy, int ranks, int accumulation) throws Exception {
    List<Ranks.Ended> ended = Ranks.run(ranks, toy, folder, rank -> "accumulation=" + accumulation);
    Path whole = folder.resolve("whole.safetensors");
    String result;
    try (Device device = Device.cpu(1);
        Network network = toy.network(device, 1)) {
      var options = Worker.options().gradientAccumulation(ranks * accumulation).build();
      result = Worker.describe(new Trainer(network, toy.source(), options).run());
      network.parameters().save(whole);
    }
    for (int rank = 0; rank < ranks; rank++) {
      assertThat(ended.get(rank).status()).as(ended.get(rank).output()).isZero();
      assertThat(ended.get(rank).line("result")).isEqualTo(result);
      assertThat(ended.get(rank).line("openmp")).isEqualTo("openmp 1");
      assertSameBits(rank, weights(0));
    }
    assertThat(relativeDifference(weights(0), whole)).isLessThan(1e-5);
  }

  /** Largest difference of a weight by the largest weight of its tensor. */
  private static double relativeDifference(Path a, Path b) {
    double difference = 0;
    try (Safetensors left = Safetensors.open(a);
        Safetensors right = Safetensors.open(b)) {
      assertThat(left.names()).isEqualTo(right.names());
      for (String name : left.names()) {
        int count = (int) left.info(name).count();
        float[] x = left.floats(name, 0, count);
        float[] y = right.floats(name, 0, count);
        double largest = 1e-3;
        double most = 0;
        for (int i = 0; i < count; i++) {
          largest = Math.max(largest, Math.abs(y[i]));
          most = Math.max(most, Math.abs(x[i] - y[i]));
        }
        difference = Math.max(difference, most / largest);
      }
    }
    return difference;
  }

  /**
   * A rank is killed; the other hears of it at once, far before its timeout of a minute, and both
   * go on from the checkpoint rank 0 wrote last. Oracle: {@link #sumOfTwo}. Tolerance: none, for a
   * sum of two floats has one rounding in either order.
   */
  @ParameterizedTest
  @EnumSource(Toy.class)
  void killedRank_endsTheOther_andResumedTheyTrainBitIdentical(Toy toy) throws Exception {
    Path expected = folder.resolve("expected.safetensors");
    sumOfTwo(toy, expected);
    List<Ranks.Ended> killed =
        Ranks.run(2, toy, folder, rank -> "save=2 run=" + run(rank) + (rank == 1 ? " die=3" : ""));
    assertThat(killed.get(1).status()).isEqualTo(9);
    assertThat(killed.get(0).status()).as(killed.get(0).output()).isEqualTo(3);
    assertThat(killed.get(0).line("failed")).contains("rank 0 of 2: all-reduce of ");
    assertThat(weights(0)).doesNotExist();

    List<Ranks.Ended> resumed =
        Ranks.run(2, toy, folder, rank -> "save=2 resume=true run=" + run(rank));
    for (int rank = 0; rank < 2; rank++) {
      assertThat(resumed.get(rank).status()).as(resumed.get(rank).output()).isZero();
      assertSameBits(rank, expected);
    }
    assertThat(resumed.get(0).line("resumed")).isEqualTo("resumed from step 2");
    assertThat(resumed.get(1).output()).doesNotContain("resumed");
    assertThat(run(0).resolve("model/model.safetensors")).isRegularFile();
    assertThat(run(1)).as("rank 0 alone writes").doesNotExist();
  }

  private Path run(int rank) {
    return folder.resolve("run-" + rank);
  }

  /** Two batches a step: each one's gradient by itself, their sum in float, one update. */
  private static void sumOfTwo(Toy toy, Path into) {
    TrainingOptions options = Worker.options().build();
    OptimizerOptions optimizer =
        new OptimizerOptions(
            (float) options.beta1(),
            (float) options.beta2(),
            (float) options.eps(),
            (float) options.weightDecay(),
            OptimizerOptions.Decay.MATRICES,
            (float) options.clip());
    BatchSource source = toy.source();
    Batch[] batches = {source.newBatch(), source.newBatch()};
    try (Device device = Device.cpu(1);
        Network network = toy.network(device, 1);
        TrainStep step = new TrainStep(network, Limits.of(batches[0]), optimizer)) {
      Parameters parameters = network.parameters();
      for (long s = 0; s < options.steps(); s++) {
        long labels = 0;
        long sequences = 0;
        for (int i = 0; i < 2; i++) {
          source.fill(2 * s + i, batches[i]);
          labels += batches[i].labelCount();
          sequences += batches[i].sequenceLabelCount();
        }
        Tensor gradients = parameters.gradientBlock();
        float[] sum = new float[(int) gradients.count()];
        for (int i = 0; i < 2; i++) {
          gradients.put(0, new float[sum.length]);
          float scale1 = sequences == 0 ? 0 : (float) (1.0 / sequences);
          step.forwardBackward(
              batches[i], options.seed(), 2 * s + i, (float) (1.0 / labels), scale1);
          float[] one = gradients.floats();
          for (int e = 0; e < sum.length; e++) {
            sum[e] += one[e];
          }
        }
        gradients.put(0, sum);
        step.update((float) options.rate(s, options.steps()));
      }
      parameters.save(into);
    }
  }

  @Test
  void cancelledInOneRank_stopsBoth_andIsSavedByRank0() throws Exception {
    List<Ranks.Ended> ended =
        Ranks.run(2, Toy.GPT, folder, rank -> "run=" + run(rank) + (rank == 1 ? " cancel=2" : ""));
    for (Ranks.Ended rank : ended) {
      assertThat(rank.status()).as(rank.output()).isZero();
      assertThat(rank.line("result")).startsWith("result 2 steps, ");
    }
    assertThat(run(0).resolve("checkpoints/step-00000002/model.safetensors")).isRegularFile();
    assertThat(run(1)).doesNotExist();
    assertSameBits(1, weights(0));
  }

  @Test
  void anotherSettingInOneRank_isNamedBeforeAnythingIsTrained() throws Exception {
    List<Ranks.Ended> ended =
        Ranks.run(2, Toy.GPT, folder, rank -> "rate=0.00" + (rank + 1) + " accumulation=1");
    assertThat(ended).allSatisfy(rank -> assertThat(rank.status()).isEqualTo(3));
    assertThat(ended.get(1).line("failed"))
        .contains("the settings of ranks [1] differ", "learningRate is 0.002, there 0.001");
    assertThat(ended.get(0).line("failed"))
        .isEqualTo("failed rank 0 of 2: the settings of ranks [1] differ from rank 0's");
  }
}
