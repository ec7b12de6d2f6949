package dev.graft.cli;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The native tests of the CUDA backend, a GoogleTest program, as one check of {@code verify}. */
final class NativeSuite {
  /**
   * How a run ended.
   *
   * @param failures names of the tests that failed; the whole program if it broke off
   */
  record Result(int passed, int skipped, List<String> failures, double seconds) {}

  private NativeSuite() {}

  /**
   * Runs it; the output of tests that fail goes to {@code err}.
   *
   * @param wrapper a command that runs the program it is given, such as a sanitizer's; may be empty
   * @param plugin a backend's library to test instead of the emulated one, or null
   * @param full the whole grid of shapes
   */
  static Result run(
      List<String> wrapper,
      Path program,
      Path plugin,
      boolean full,
      String filter,
      PrintWriter err) {
    Path folder = null;
    try {
      folder = Files.createTempDirectory("graft-verify");
      Path report = folder.resolve("report.json");
      Path log = folder.resolve("log.txt");
      List<String> command = new ArrayList<>(wrapper);
      command.addAll(
          List.of(
              program.toString(),
              "--gtest_brief=1",
              "--gtest_color=no",
              "--gtest_filter=" + filter,
              "--gtest_output=json:" + report));
      ProcessBuilder builder = new ProcessBuilder(command);
      builder.redirectErrorStream(true).redirectOutput(log.toFile());
      if (plugin != null) {
        builder.environment().put("GRAFT_CUDA_PLUGIN", plugin.toString());
      }
      if (full) {
        builder.environment().put("GRAFT_TEST_FULL", "1");
      }
      long begin = System.nanoTime();
      Process process = builder.start();
      int code;
      try {
        code = process.waitFor();
      } finally {
        process.destroy();
      }
      Result result = read(report, (System.nanoTime() - begin) / 1e9, code);
      if (!result.failures.isEmpty()) {
        Files.readAllLines(log).forEach(err::println);
        err.flush();
      }
      return result;
    } catch (IOException e) {
      throw InvalidInputException.of(program, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    } finally {
      delete(folder);
    }
  }

  private static Result read(Path report, double seconds, int code) {
    int passed = 0;
    int skipped = 0;
    List<String> failures = new ArrayList<>();
    if (Files.isRegularFile(report)) {
      for (JsonNode suite : Json.readObject(report).path("testsuites")) {
        for (JsonNode test : suite.path("testsuite")) {
          if (test.has("failures")) {
            failures.add(suite.path("name").asText() + "." + test.path("name").asText());
          } else if (test.path("result").asText().equals("SKIPPED")) {
            skipped++;
          } else if (test.path("status").asText().equals("RUN")) {
            passed++;
          }
        }
      }
    }
    if (code != 0 && failures.isEmpty()) {
      failures.add("the program ended with " + code);
    }
    return new Result(passed, skipped, failures, seconds);
  }

  private static void delete(Path folder) {
    if (folder == null) {
      return;
    }
    for (String name : new String[] {"report.json", "log.txt", ""}) {
      try {
        Files.deleteIfExists(folder.resolve(name));
      } catch (IOException e) {
        // A file in the system's temporary folder is left behind.
      }
    }
  }
}
