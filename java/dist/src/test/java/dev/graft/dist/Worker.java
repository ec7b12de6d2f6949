package dev.graft.dist;

import dev.graft.model.Network;
import dev.graft.runtime.Device;
import dev.graft.train.CancellationToken;
import dev.graft.train.StepEvent;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * A rank in a process of its own: toy, folder of results, and settings as {@code name=value}. Rank
 * and address come from the environment. Exit status 3 is a {@link DistributedException}.
 */
final class Worker {
  static final int STEPS = 6;

  private Worker() {}

  static TrainingOptions.Builder options() {
    return TrainingOptions.finetuning()
        .steps(STEPS)
        .learningRate(1e-3)
        // Elements whose gradient is rounding noise alone would move by a full step otherwise.
        .eps(1e-3)
        .logEvery(1);
  }

  static String describe(TrainingResult result) {
    return String.format(
        Locale.ROOT,
        "result %d steps, %d tokens, loss %.4f",
        result.steps(),
        result.tokens(),
        result.finalLoss());
  }

  /** Graft and libtorch bring a libgomp each; how many are mapped. */
  private static long openMpRuntimes() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
      return lines
          .filter(line -> line.contains("/libgomp"))
          .map(line -> line.substring(line.indexOf('/')))
          .distinct()
          .count();
    }
  }

  public static void main(String[] arguments) throws IOException {
    Toy toy = Toy.valueOf(arguments[0]);
    Path folder = Path.of(arguments[1]);
    TrainingOptions.Builder options = options();
    long die = -1;
    long cancel = -1;
    for (int i = 2; i < arguments.length; i++) {
      String[] setting = arguments[i].split("=", 2);
      switch (setting[0]) {
        case "accumulation" -> options.gradientAccumulation(Integer.parseInt(setting[1]));
        case "rate" -> options.learningRate(Double.parseDouble(setting[1]));
        case "save" -> options.saveEvery(Long.parseLong(setting[1]));
        case "run" -> options.runDirectory(Path.of(setting[1]));
        case "resume" -> options.resume(true);
        case "die" -> die = Long.parseLong(setting[1]);
        case "cancel" -> cancel = Long.parseLong(setting[1]);
        default -> throw new IllegalArgumentException(arguments[i]);
      }
    }
    CancellationToken token = new CancellationToken();
    Rendezvous at = Rendezvous.fromEnvironment().withTimeout(Duration.ofMinutes(1));
    options.cancellation(token).listener(new Accident(token, die, cancel));
    try (ProcessGroup group = ProcessGroup.open(at);
        Device device = Device.cpu(1);
        // Ranks begin with different weights: those of rank 0 count.
        Network network = toy.network(device, 1 + at.rank())) {
      TrainingResult result =
          new Trainer(network, toy.source(), options.exchange(new DataParallel(group)).build())
              .run();
      network.parameters().save(folder.resolve("rank-" + at.rank() + ".safetensors"));
      System.out.println(describe(result));
      System.out.println("openmp " + openMpRuntimes());
    } catch (DistributedException e) {
      System.out.println("failed " + e.getMessage());
      System.exit(3);
    }
  }

  /** Ends or cancels this process after a step. */
  private record Accident(CancellationToken token, long die, long cancel)
      implements TrainingListener {
    @Override
    public void onStep(StepEvent event) {
      if (event.step() == die) {
        Runtime.getRuntime().halt(9);
      }
      if (event.step() == cancel) {
        token.cancel();
      }
    }

    @Override
    public void onResume(Path checkpoint, long step) {
      System.out.println("resumed from step " + step);
    }
  }
}
