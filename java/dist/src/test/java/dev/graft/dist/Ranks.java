package dev.graft.dist;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;

/** Runs {@link Worker} in as many processes as there are ranks, over the loopback interface. */
final class Ranks {
  /** How a process ended, and all it printed. */
  record Ended(int status, String output) {
    /** The line that begins so. */
    String line(String start) {
      return output
          .lines()
          .filter(line -> line.startsWith(start))
          .findFirst()
          .orElseThrow(() -> new AssertionError(output));
    }
  }

  private Ranks() {}

  static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  /**
   * Runs all ranks to their end.
   *
   * @param settings of a rank, for {@link Worker}
   */
  static List<Ended> run(int size, Toy toy, Path folder, IntFunction<String> settings)
      throws IOException, InterruptedException {
    int port = freePort();
    List<Process> processes = new ArrayList<>();
    List<Path> outputs = new ArrayList<>();
    try {
      for (int rank = 0; rank < size; rank++) {
        List<String> command =
            new ArrayList<>(
                List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-XX:TieredStopAtLevel=1",
                    "-XX:+UseSerialGC",
                    "-cp",
                    System.getProperty("java.class.path"),
                    Worker.class.getName(),
                    toy.name(),
                    folder.toString()));
        command.addAll(
            Arrays.stream(settings.apply(rank).split(" ")).filter(s -> !s.isEmpty()).toList());
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("RANK", Integer.toString(rank));
        builder.environment().put("WORLD_SIZE", Integer.toString(size));
        builder.environment().put("MASTER_ADDR", "127.0.0.1");
        builder.environment().put("MASTER_PORT", Integer.toString(port));
        Path output = Files.createTempFile(folder, "rank-" + rank + "-", ".log");
        outputs.add(output);
        processes.add(builder.redirectOutput(output.toFile()).start());
      }
      List<Ended> ended = new ArrayList<>();
      for (int rank = 0; rank < size; rank++) {
        Process process = processes.get(rank);
        boolean inTime = process.waitFor(90, TimeUnit.SECONDS);
        String output = Files.readString(outputs.get(rank), StandardCharsets.UTF_8);
        if (!inTime) {
          throw new AssertionError("rank " + rank + " did not end: " + output);
        }
        ended.add(new Ended(process.exitValue(), output));
      }
      return ended;
    } finally {
      processes.forEach(Process::destroyForcibly);
    }
  }
}
