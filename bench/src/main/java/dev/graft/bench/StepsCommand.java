package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.verify.Clock;
import dev.graft.verify.DeviceLimits;
import dev.graft.verify.PyTorchPeer;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft bench steps}: whole training steps. */
@Command(
    name = "steps",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Times a training step of a whole network on random weights and tokens: milliseconds, tokens"
            + " a second, share of the matrix rate measured in the same run, and peak memory.")
final class StepsCommand implements Callable<Integer> {

  @Mixin StepShape shape;

  @Option(
      names = "--steps",
      description = "Steps timed, after a first one (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  int steps;

  @Option(names = "--libtorch", description = "The same network in libtorch beside it, in turn.")
  boolean libtorch;

  @Option(
      names = "--pytorch",
      paramLabel = "PYTHON",
      description =
          "transformers on official PyTorch beside it, in turn, by this Python"
              + " (bench/peers/requirements.txt); not for --task pretraining.")
  String python;

  @Option(
      names = "--pytorch-mode",
      description = "eager or compile (default: ${DEFAULT-VALUE}).",
      defaultValue = "eager")
  String pytorchMode;

  @Option(names = "--threads", description = "Threads (default: all cores).", defaultValue = "0")
  int threads;

  @Option(names = "--json", description = "One JSON object on standard output.")
  boolean json;

  /** What one run came to; the peers' figures are NaN where they did not run. */
  private record Figures(
      double graftSeconds,
      double torchSeconds,
      double pytorchSeconds,
      OptionalLong peakBytes,
      double flops,
      double limit,
      int tokens,
      int calls,
      long parameters,
      long activationBytes) {}

  @Override
  public Integer call() {
    if (steps < 1) {
      throw new InvalidInputException("--steps: expected at least 1, got " + steps);
    }
    ObjectNode peerCase = python == null ? null : shape.pytorch(pytorchMode);
    Figures figures;
    try (Device device = Device.cpu(threads);
        PyTorchPeer pytorch =
            python == null ? null : PyTorchPeer.start(python, "cpu", device.threads())) {
      figures = measure(device, pytorch, peerCase);
    }
    if (json) {
      System.out.println(Json.line(json(figures)));
    } else {
      print(figures);
    }
    return 0;
  }

  private Figures measure(Device device, PyTorchPeer pytorch, ObjectNode peerCase) {
    double[] own = new double[steps];
    double[] peer = new double[steps];
    double[] official = new double[steps];
    try (StepBench bench = new StepBench(shape.run(device))) {
      bench.runGraft();
      if (libtorch) {
        Torch.threads(device.threads());
        bench.prepareTorch();
        bench.runTorch();
      }
      if (pytorch != null) {
        pytorch.prepare(peerCase);
      }
      for (int i = 0; i < steps; i++) {
        own[i] = Clock.seconds(bench::runGraft);
        peer[i] = libtorch ? Clock.seconds(bench::runTorch) : Double.NaN;
        official[i] = pytorch == null ? Double.NaN : pytorch.run(1)[0];
      }
      // Read before the limits are measured, which takes memory of its own.
      OptionalLong peak = PeakMemory.bytes();
      DeviceLimits limits = DeviceLimits.measure(device, DeviceLimits.Size.CPU);
      return new Figures(
          Clock.median(own),
          Clock.median(peer),
          Clock.median(official),
          peak,
          bench.step().flops(),
          limits.flops(shape.type()),
          bench.step().tokens(),
          bench.step().calls(),
          bench.step().network().parameters().count(),
          bench.step().activationBytes());
    }
  }

  private ObjectNode json(Figures f) {
    ObjectNode line =
        Json.object()
            .put("model", shape.model)
            .put("dtype", shape.dtype)
            .put("shape", shape.label())
            .put("parameters", f.parameters())
            .put("graft_ms", 1e3 * f.graftSeconds())
            .put("tokens_per_second", f.tokens() / f.graftSeconds())
            .put("flops", f.flops())
            .put("limit_fraction", f.flops() / f.graftSeconds() / f.limit())
            .put("native_calls", f.calls())
            .put("activation_bytes", f.activationBytes());
    if (f.peakBytes().isPresent()) {
      line.put("peak_rss_bytes", f.peakBytes().getAsLong());
    }
    if (libtorch) {
      line.put("libtorch_ms", 1e3 * f.torchSeconds())
          .put("ratio", f.torchSeconds() / f.graftSeconds());
    }
    if (python != null) {
      line.put("pytorch_ms", 1e3 * f.pytorchSeconds())
          .put("pytorch_ratio", f.pytorchSeconds() / f.graftSeconds());
    }
    return line;
  }

  private void print(Figures f) {
    System.out.printf(
        Locale.ROOT,
        "%s, %,d parameters, %s, %s tokens%n"
            + "step            %,.1f ms, %,.0f tokens/s%n"
            + "of matrix rate  %.0f %% of %,.0f GFLOP/s, %,.1f GFLOP a step in %d native calls%n"
            + "activations     %,.0f MiB%n",
        shape.model,
        f.parameters(),
        shape.dtype,
        shape.label(),
        1e3 * f.graftSeconds(),
        f.tokens() / f.graftSeconds(),
        100 * f.flops() / f.graftSeconds() / f.limit(),
        f.limit() * 1e-9,
        f.flops() * 1e-9,
        f.calls(),
        f.activationBytes() / 1048576.0);
    f.peakBytes()
        .ifPresent(
            bytes ->
                System.out.printf(Locale.ROOT, "peak memory     %,.0f MiB%n", bytes / 1048576.0));
    if (libtorch) {
      System.out.printf(
          Locale.ROOT,
          "libtorch        %,.1f ms, %.2f x%n",
          1e3 * f.torchSeconds(),
          f.torchSeconds() / f.graftSeconds());
    }
    if (python != null) {
      System.out.printf(
          Locale.ROOT,
          "PyTorch         %,.1f ms, %.2f x (transformers, %s)%n",
          1e3 * f.pytorchSeconds(),
          f.pytorchSeconds() / f.graftSeconds(),
          pytorchMode);
    }
  }
}
