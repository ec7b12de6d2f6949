package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine;

/** Commands run in this process, and what they work on. */
final class Cli {
  /** The small models of the library's tests. */
  static final Path MODELS = Path.of("../graft/src/test/resources/models");

  static {
    // Where the build does not say so (an IDE): no test asks a hub.
    if (System.getProperty("HF_HUB_OFFLINE") == null) {
      System.setProperty("HF_HUB_OFFLINE", "1");
    }
  }

  private Cli() {}

  /** How a command ended. */
  record Result(int code, String out, String err) {
    /** Its standard output by lines. */
    List<String> lines() {
      return out.lines().toList();
    }

    List<ObjectNode> json() {
      return lines().stream()
          .map(line -> Json.parseObject(Path.of("output"), line.getBytes(StandardCharsets.UTF_8)))
          .toList();
    }

    Result done() {
      assertThat(code).as(err).isZero();
      return this;
    }

    /** It was refused in one line that says all of this; nothing was printed. */
    Result refused(String... parts) {
      assertThat(err).contains(parts);
      assertThat(err.lines().filter(line -> line.startsWith("graft: "))).as(err).hasSize(1);
      assertThat(err).doesNotContain("\tat ");
      assertThat(code).as(err).isEqualTo(ExitCode.INVALID_INPUT);
      assertThat(out).isEmpty();
      return this;
    }
  }

  static Result run(Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine line = Main.commandLine();
    line.setOut(new PrintWriter(out, true));
    line.setErr(new PrintWriter(err, true));
    int code = line.execute(Arrays.stream(arguments).map(String::valueOf).toArray(String[]::new));
    line.getOut().flush();
    return new Result(code, out.toString(), err.toString());
  }

  static Path write(Path file, String... lines) {
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      return Files.writeString(file, String.join("\n", lines) + "\n");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What lies below a folder, for tests that nothing half-written is left. */
  static List<String> tree(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.map(file -> folder.relativize(file).toString()).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Text with something to learn in it. */
  static Path text(Path file) {
    String[] lines = new String[400];
    for (int i = 0; i < lines.length; i++) {
      lines[i] = i % 5 == 4 ? "" : "the " + i % 7 + " birds sang " + i % 3 + " songs .";
    }
    return write(file, lines);
  }

  /** Sentences of two classes that one word tells apart. */
  static Path reviews(Path file, int count) {
    String[] lines = new String[count + 1];
    lines[0] = "text,label";
    String[] things = {"birds", "songs", "the 3 birds"};
    for (int i = 0; i < count; i++) {
      boolean good = i % 2 == 0;
      lines[i + 1] =
          "the " + things[i % 3] + " sang " + (good ? "1" : "2") + (good ? ",good" : ",bad");
    }
    return write(file, lines);
  }

  /** The options of a network that trains in a moment. */
  static final List<String> SMALL =
      List.of(
          "--threads",
          "1",
          "--layers",
          "2",
          "--heads",
          "2",
          "--channels",
          "32",
          "--positions",
          "24",
          "--batch-size",
          "4",
          "--dtype",
          "fp32");

  /** A command line of several parts. */
  static Object[] line(Object... parts) {
    return Arrays.stream(parts)
        .flatMap(part -> part instanceof List<?> list ? list.stream() : Stream.of(part))
        .toArray();
  }
}
