package dev.graft.bench;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Device;
import dev.graft.verify.DeviceLimits;
import dev.graft.verify.PyTorchPeer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft bench kernels}: each kernel beside libtorch and official PyTorch. */
@Command(
    name = "kernels",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Times each CPU kernel beside libtorch: same JVM, same threads, same data, in turn; with "
            + "the share of the copy bandwidth or matrix rate measured in the same run.")
final class KernelsCommand implements Callable<Integer> {
  /** A kernel was slower than it may be. */
  static final int BEHIND = 1;

  @Option(names = "--op", description = "Only ops whose name contains this.", defaultValue = "")
  String op;

  @Option(names = "--dtype", description = "Only fp32 or bf16 (default: both).", defaultValue = "")
  String dtype;

  @Option(names = "--full", description = "More shapes.")
  boolean full;

  @Option(
      names = "--pytorch",
      paramLabel = "PYTHON",
      description =
          "Also official PyTorch, in turn, by this Python (bench/peers/requirements.txt).")
  String python;

  @Option(
      names = "--peer",
      paramLabel = "COMMAND",
      description =
          "Instead of PyTorch another process that speaks its protocol, such as"
              + " 'bench/peers/jvm/run djl' or 'bench/peers/jvm/run nd4j'. Its words are split at"
              + " blanks; --threads N is added.")
  String peer;

  @Option(
      names = "--at-least",
      paramLabel = "RATIO",
      description =
          "Exit with 1 and name the kernels that are not this many times as fast as libtorch, such"
              + " as 1.")
  Double atLeast;

  @Option(names = "--chart", paramLabel = "FILE.png", description = "Also draw the ratios.")
  Path chart;

  @Option(
      names = "--threads",
      description = "Threads for all sides (default: all cores).",
      defaultValue = "0")
  int threads;

  @Option(
      names = "--seconds",
      description = "About how long a case may take (default: ${DEFAULT-VALUE}).",
      defaultValue = "1.5")
  double seconds;

  @Option(names = "--json", description = "One JSON object a case on standard output.")
  boolean json;

  @Override
  public Integer call() {
    List<KernelBench.Result> results = new ArrayList<>();
    try (Device device = Device.cpu(threads);
        PyTorchPeer other = peer(device.threads())) {
      String name = other == null ? null : name(other);
      Torch.threads(device.threads());
      DeviceLimits limits = DeviceLimits.measure(device, DeviceLimits.Size.CPU);
      if (!json) {
        printHeader(device, limits, other);
      }
      KernelBench bench = new KernelBench(limits, seconds, other, name);
      for (Supplier<KernelCase> supplier : KernelCases.all(device, full)) {
        try (PointerScope scope = new PointerScope();
            KernelCase kernel = supplier.get()) {
          if (kernel.op().contains(op) && kernel.dtypeName().contains(dtype)) {
            KernelBench.Result result = bench.run(kernel);
            System.out.println(json ? result.json() : result.text());
            System.out.flush();
            results.add(result);
          }
        }
      }
    }
    if (results.isEmpty()) {
      throw new InvalidInputException(
          "no kernel has --op '" + op + "' and --dtype '" + dtype + "' in its name");
    }
    if (chart != null) {
      RatioChart.write(results, chart);
    }
    List<KernelBench.Result> behind = behind(results, atLeast);
    for (KernelBench.Result one : behind) {
      System.err.printf(
          Locale.ROOT,
          "behind: %s %s %s is %.2f times as fast as libtorch, expected %.2f%n",
          one.op(),
          one.dtype(),
          one.shape(),
          one.ratio(),
          atLeast);
    }
    return behind.isEmpty() ? 0 : BEHIND;
  }

  /** The process beside this one, or null. */
  private PyTorchPeer peer(int count) {
    if (peer == null) {
      return python == null ? null : PyTorchPeer.start(python, "cpu", count);
    }
    if (python != null) {
      throw new InvalidInputException("--peer and --pytorch: expected one of them");
    }
    List<String> command = new ArrayList<>(List.of(peer.strip().split("\\s+")));
    command.addAll(List.of("--threads", Integer.toString(count)));
    return new PyTorchPeer(command);
  }

  /** Its name as keys have it: pytorch, or the first word of what it calls itself. */
  private static String name(PyTorchPeer peer) {
    String name = peer.info().path("name").asText();
    return name.isEmpty() ? "pytorch" : name.split(" ")[0].toLowerCase(Locale.ROOT);
  }

  /** Those below the ratio; none if that is null. */
  static List<KernelBench.Result> behind(List<KernelBench.Result> results, Double atLeast) {
    return results.stream()
        .filter(result -> atLeast != null && !(result.ratio() >= atLeast))
        .toList();
  }

  private static void printHeader(Device device, DeviceLimits limits, PyTorchPeer other) {
    System.out.printf(
        Locale.ROOT,
        "%d threads; limits measured: copy %.1f GB/s, %s fp32 %.0f GFLOP/s, bf16 %.0f"
            + " GFLOP/s; libtorch %s%s%n",
        device.threads(),
        limits.bytesPerSecond() * 1e-9,
        device.gemm().description(),
        limits.flopsFp32() * 1e-9,
        limits.flopsBf16() * 1e-9,
        Torch.version(),
        other == null ? "" : "; beside it: " + full(other));
    System.out.printf(
        "%-34s %-5s %-28s %10s %12s %8s %11s%s%n",
        "op",
        "dtype",
        "shape",
        "graft ms",
        "libtorch ms",
        "ratio",
        "of limit",
        other == null ? "" : String.format("%13s    ratio", name(other) + " ms"));
  }

  private static String full(PyTorchPeer peer) {
    JsonNode info = peer.info();
    return info.path("name").asText("PyTorch " + info.path("torch").asText());
  }
}
