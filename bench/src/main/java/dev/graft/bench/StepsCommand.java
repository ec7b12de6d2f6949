package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.ModelConfig;
import dev.graft.model.Presets;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
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
  private static final int GPT2_VOCABULARY = 50257;
  private static final int BERT_VOCABULARY = 30522;

  @Option(
      names = "--model",
      description = "gpt2-SIZE or bert-SIZE, as pretrain knows them (default: ${DEFAULT-VALUE}).",
      defaultValue = "gpt2-small")
  String model;

  @Option(
      names = "--tokens",
      description = "Tokens of a sequence (default: the model's positions).",
      defaultValue = "0")
  int tokens;

  @Option(
      names = "--batch",
      description = "Sequences of a step (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int batch;

  @Option(names = "--dtype", description = "fp32 or bf16.", defaultValue = "bf16")
  String dtype;

  @Option(
      names = "--steps",
      description = "Steps timed, after a first one (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  int steps;

  @Option(names = "--libtorch", description = "The same network in libtorch beside it, in turn.")
  boolean libtorch;

  @Option(names = "--threads", description = "Threads (default: all cores).", defaultValue = "0")
  int threads;

  @Option(names = "--json", description = "One JSON object on standard output.")
  boolean json;

  /** What one run came to; libtorch's figures are NaN where it did not run. */
  private record Figures(
      double graftSeconds,
      double torchSeconds,
      OptionalLong peakBytes,
      double flops,
      double limit,
      int tokens,
      int calls,
      long parameters,
      long activationBytes) {}

  private ModelConfig config() {
    int dash = model.indexOf('-');
    String family = dash < 0 ? model : model.substring(0, dash);
    if (dash < 0 || !(family.equals("gpt2") || family.equals("bert"))) {
      throw new InvalidInputException(
          "--model: expected gpt2-SIZE or bert-SIZE, got '" + model + "'");
    }
    return Presets.of(family, model.substring(dash + 1))
        .withVocabSize(family.equals("gpt2") ? GPT2_VOCABULARY : BERT_VOCABULARY);
  }

  @Override
  public Integer call() {
    ModelConfig config = config();
    Task task = config.modelType().equals("gpt2") ? Task.CAUSAL_LM : Task.PRETRAINING;
    DType type = DType.parse(dtype);
    int length = tokens == 0 ? config.maxPositions() : tokens;
    if (length < 2 || length > config.maxPositions() || batch < 1 || steps < 1) {
      throw new InvalidInputException(
          String.format(
              "expected 2 to %d tokens, at least one sequence and one step, got %d, %d and %d",
              config.maxPositions(), length, batch, steps));
    }
    Figures figures;
    try (Device device = Device.cpu(threads)) {
      figures = measure(device, config, task, type, length);
    }
    if (json) {
      System.out.println(Json.line(json(figures, length)));
    } else {
      print(figures, length);
    }
    return 0;
  }

  private Figures measure(Device device, ModelConfig config, Task task, DType type, int length) {
    double[] own = new double[steps];
    double[] peer = new double[steps];
    try (StepBench bench = new StepBench(device, config, task, type, batch, length)) {
      bench.runGraft();
      if (libtorch) {
        Torch.threads(device.threads());
        bench.prepareTorch();
        bench.runTorch();
      }
      for (int i = 0; i < steps; i++) {
        own[i] = Clock.seconds(bench::runGraft);
        peer[i] = libtorch ? Clock.seconds(bench::runTorch) : Double.NaN;
      }
      // Read before the limits are measured, which takes memory of its own.
      OptionalLong peak = PeakMemory.bytes();
      Limits limits = Limits.measure(device);
      return new Figures(
          Clock.median(own),
          Clock.median(peer),
          peak,
          bench.flops(),
          type == DType.BFLOAT16 ? limits.flopsBf16() : limits.flopsFp32(),
          bench.tokens(),
          bench.calls(),
          bench.parameters(),
          bench.activationBytes());
    }
  }

  private ObjectNode json(Figures f, int length) {
    ObjectNode line =
        Json.object()
            .put("model", model)
            .put("dtype", dtype)
            .put("shape", batch + "x" + length)
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
    return line;
  }

  private void print(Figures f, int length) {
    System.out.printf(
        Locale.ROOT,
        "%s, %,d parameters, %s, %d x %d tokens%n"
            + "step            %,.1f ms, %,.0f tokens/s%n"
            + "of matrix rate  %.0f %% of %,.0f GFLOP/s, %,.1f GFLOP a step in %d native calls%n"
            + "activations     %,.0f MiB%n",
        model,
        f.parameters(),
        dtype,
        batch,
        length,
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
  }
}
