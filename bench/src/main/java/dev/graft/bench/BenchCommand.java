package dev.graft.bench;

import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Unmatched;

/** {@code graft bench}: kernels and whole steps, beside libtorch. */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    description = "Measures Graft beside libtorch on this machine.",
    subcommands = {BenchCommand.Kernels.class, StepsCommand.class, BenchCommand.Jmh.class})
public final class BenchCommand {

  /** {@code graft bench jmh}. */
  @Command(
      name = "jmh",
      description = {
        "Runs the JMH benchmarks; what follows goes to JMH:",
        "  graft bench jmh -l                            which there are",
        "  graft bench jmh TrainingStep -prof gc         bytes allocated a step",
        "  graft bench jmh -h                            JMH's own options"
      })
  static final class Jmh implements Callable<Integer> {
    /** All of them, options too: they are JMH's own. */
    @Unmatched List<String> arguments = new ArrayList<>();

    @Override
    public Integer call() throws Exception {
      org.openjdk.jmh.Main.main(arguments.toArray(new String[0]));
      return 0;
    }
  }

  /** {@code graft bench kernels}. */
  @Command(
      name = "kernels",
      mixinStandardHelpOptions = true,
      description =
          "Times each CPU kernel beside libtorch: same JVM, same threads, same data, in turn; with "
              + "the share of the copy bandwidth or matrix rate measured in the same run.")
  static final class Kernels implements Callable<Integer> {
    @Option(names = "--json", description = "One JSON object a case on standard output.")
    boolean json;

    @Option(names = "--full", description = "More shapes.")
    boolean full;

    @Option(names = "--op", description = "Only ops whose name contains this.", defaultValue = "")
    String op;

    @Option(
        names = "--dtype",
        description = "Only fp32 or bf16 (default: both).",
        defaultValue = "")
    String dtype;

    @Option(
        names = "--threads",
        description = "Threads for both (default: all cores).",
        defaultValue = "0")
    int threads;

    @Option(
        names = "--seconds",
        description = "About how long a case may take (default: ${DEFAULT-VALUE}).",
        defaultValue = "1.5")
    double seconds;

    @Option(
        names = "--pytorch",
        paramLabel = "PYTHON",
        description =
            "Also official PyTorch, in turn, by this Python (bench/peers/requirements.txt).")
    String python;

    @Override
    public Integer call() {
      try (Device device = Device.cpu(threads);
          PyTorchPeer pytorch =
              python == null ? null : PyTorchPeer.start(python, device.threads())) {
        Torch.threads(device.threads());
        Limits limits = Limits.measure(device);
        if (!json) {
          System.out.printf(
              "%d threads; limits measured: copy %.1f GB/s, %s fp32 %.0f GFLOP/s, bf16 %.0f"
                  + " GFLOP/s; libtorch %s%n",
              device.threads(),
              limits.bytesPerSecond() * 1e-9,
              device.gemm().description(),
              limits.flopsFp32() * 1e-9,
              limits.flopsBf16() * 1e-9,
              Torch.version());
          if (pytorch != null) {
            System.out.println("official PyTorch " + pytorch.info().path("torch").asText());
          }
          System.out.printf(
              "%-34s %-5s %-28s %10s %12s %8s %11s%s%n",
              "op",
              "dtype",
              "shape",
              "graft ms",
              "libtorch ms",
              "ratio",
              "of limit",
              pytorch == null ? "" : "   pytorch ms    ratio");
        }
        KernelBench bench = new KernelBench(limits, seconds, pytorch);
        List<Supplier<KernelCase>> cases = KernelCases.all(device, full);
        for (Supplier<KernelCase> supplier : cases) {
          try (PointerScope scope = new PointerScope();
              KernelCase kernel = supplier.get()) {
            if (kernel.op().contains(op) && kernel.dtypeName().contains(dtype)) {
              KernelBench.Result result = bench.run(kernel);
              System.out.println(json ? result.json() : result.text());
              System.out.flush();
            }
          }
        }
      }
      return 0;
    }
  }
}
