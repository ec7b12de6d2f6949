package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.verify.Clock;
import dev.graft.verify.PyTorchPeer;
import dev.graft.verify.StepRun;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft bench scaling}: a training step on one core, two, four and so on. */
@Command(
    name = "scaling",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Times a training step on 1, 2, 4 … all cores, in turns. Efficiency is the speed-up over one"
            + " core by the number of cores; on a processor whose clock falls as more of it works, 1"
            + " cannot be reached.")
final class ScalingCommand implements Callable<Integer> {
  @Mixin StepShape shape;

  @Option(
      names = "--steps",
      description = "Steps timed on each number of cores (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  int steps;

  @Option(
      names = "--threads",
      paramLabel = "N",
      split = ",",
      description = "These numbers of threads instead.")
  int[] threads;

  @Option(
      names = "--pytorch",
      paramLabel = "PYTHON",
      description =
          "transformers on official PyTorch with as many threads beside it, by this Python"
              + " (bench/peers/requirements.txt); not for --task pretraining.")
  String python;

  @Option(names = "--json", description = "One JSON object a number of threads.")
  boolean json;

  /** A step on so many threads, and its peer's, or null. */
  private record Lane(int threads, Device device, StepRun step, PyTorchPeer peer)
      implements AutoCloseable {
    double own() {
      device.activate();
      return Clock.seconds(step::run);
    }

    @Override
    public void close() {
      step.close();
      device.close();
      if (peer != null) {
        peer.close();
      }
    }
  }

  @Override
  public Integer call() {
    int[] counts = threads == null ? doublings(cores()) : threads;
    if (steps < 1 || counts.length == 0 || Arrays.stream(counts).anyMatch(n -> n < 1)) {
      throw new InvalidInputException("expected at least one step and one thread");
    }
    ObjectNode peerCase = python == null ? null : shape.pytorch("eager");
    List<Lane> lanes = new ArrayList<>();
    try {
      for (int count : counts) {
        lanes.add(lane(count, peerCase));
      }
      report(lanes, times(lanes, false), python == null ? null : times(lanes, true));
    } finally {
      lanes.forEach(Lane::close);
    }
    return 0;
  }

  private Lane lane(int count, ObjectNode peerCase) {
    Device device = Device.cpu(count);
    StepRun step = shape.run(device);
    step.run();
    PyTorchPeer peer = python == null ? null : PyTorchPeer.start(python, "cpu", count);
    if (peer != null) {
      peer.prepare(peerCase);
    }
    return new Lane(count, device, step, peer);
  }

  /** Median seconds of each lane, a step of one after a step of the other. */
  private double[] times(List<Lane> lanes, boolean peers) {
    double[][] seconds = new double[lanes.size()][steps];
    for (int i = 0; i < steps; i++) {
      for (int l = 0; l < lanes.size(); l++) {
        Lane lane = lanes.get(l);
        seconds[l][i] = peers ? lane.peer().run(1)[0] : lane.own();
      }
    }
    double[] medians = new double[lanes.size()];
    for (int l = 0; l < medians.length; l++) {
      medians[l] = Clock.median(seconds[l]);
    }
    return medians;
  }

  private void report(List<Lane> lanes, double[] own, double[] peer) {
    if (!json) {
      System.out.printf(
          "%s, %s, %s tokens%n%7s %10s %12s %9s %11s%s%n",
          shape.model,
          shape.dtype,
          shape.label(),
          "threads",
          "graft ms",
          "tokens/s",
          "speed-up",
          "efficiency",
          peer == null ? "" : "   pytorch ms  speed-up  ratio");
    }
    for (int l = 0; l < own.length; l++) {
      int count = lanes.get(l).threads();
      double speedUp = own[0] / own[l];
      double efficiency = speedUp * lanes.get(0).threads() / count;
      if (json) {
        ObjectNode line =
            Json.object()
                .put("model", shape.model)
                .put("dtype", shape.dtype)
                .put("shape", shape.label())
                .put("threads", count)
                .put("graft_ms", 1e3 * own[l])
                .put("speed_up", speedUp)
                .put("efficiency", efficiency);
        if (peer != null) {
          line.put("pytorch_ms", 1e3 * peer[l]).put("pytorch_speed_up", peer[0] / peer[l]);
        }
        System.out.println(Json.line(line));
      } else {
        System.out.printf(
            Locale.ROOT,
            "%7d %10.1f %12.0f %9.2f %9.0f %%%s%n",
            count,
            1e3 * own[l],
            lanes.get(l).step().tokens() / own[l],
            speedUp,
            100 * efficiency,
            peer == null
                ? ""
                : String.format(
                    Locale.ROOT,
                    " %12.1f %9.2f %6.2f",
                    1e3 * peer[l],
                    peer[0] / peer[l],
                    peer[l] / own[l]));
      }
    }
  }

  /** 1, 2, 4 … and the number itself. */
  static int[] doublings(int most) {
    List<Integer> counts = new ArrayList<>();
    for (int n = 1; n < most; n *= 2) {
      counts.add(n);
    }
    counts.add(most);
    return counts.stream().mapToInt(Integer::intValue).toArray();
  }

  private static int cores() {
    try (Device device = Device.cpu()) {
      return device.threads();
    }
  }
}
