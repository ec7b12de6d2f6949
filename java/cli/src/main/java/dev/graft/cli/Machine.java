package dev.graft.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/** What the system says about this machine. */
final class Machine {
  private static final double GIB = 1 << 30;

  private Machine() {}

  static String processor() {
    return field(Path.of("/proc/cpuinfo"), "model name").orElse(System.getProperty("os.arch"));
  }

  static String system() {
    return System.getProperty("os.name")
        + " "
        + System.getProperty("os.version")
        + " "
        + System.getProperty("os.arch");
  }

  static double memoryGib() {
    return rounded(
        ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getTotalMemorySize()
            / GIB);
  }

  /**
   * What processes may still take, the file cache counted as free; empty if the system is silent.
   */
  static Optional<Double> freeMemoryGib() {
    return field(Path.of("/proc/meminfo"), "MemAvailable")
        .map(text -> rounded(Long.parseLong(text.split(" ")[0]) * 1024 / GIB));
  }

  static double heapGib() {
    return rounded(Runtime.getRuntime().maxMemory() / GIB);
  }

  private static double rounded(double value) {
    return Math.rint(value * 10) / 10;
  }

  /** The value of the first line that begins with a key. */
  private static Optional<String> field(Path file, String key) {
    try (Stream<String> lines = Files.lines(file)) {
      return lines
          .filter(line -> line.startsWith(key))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst();
    } catch (IOException | UncheckedIOException e) {
      return Optional.empty();
    }
  }

  /** Whether the system knows an NVIDIA card, whatever can be done with it. */
  static boolean hasCard() {
    return Files.exists(Path.of("/dev/nvidia0")) || Files.exists(Path.of("/dev/dxg"));
  }
}
