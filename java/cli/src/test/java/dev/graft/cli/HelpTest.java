package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.cli.Cli.Result;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;

class HelpTest {
  static Stream<List<String>> commands() {
    List<List<String>> found = new ArrayList<>();
    collect(Main.commandLine(), List.of(), found);
    assertThat(found).hasSizeGreaterThan(10);
    return found.stream();
  }

  private static void collect(CommandLine line, List<String> at, List<List<String>> found) {
    for (Map.Entry<String, CommandLine> entry : line.getSubcommands().entrySet()) {
      List<String> path = new ArrayList<>(at);
      path.add(entry.getKey());
      if (!entry.getKey().equals("bench")) { // only stands for another module's here
        found.add(path);
      }
      collect(entry.getValue(), path, found);
    }
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommand_hasHelpWithExamplesThatFitsATerminal(List<String> path) {
    Result result = Cli.run(Cli.line(path, "--help")).done();
    boolean group = path.equals(List.of("tokenizer"));
    assertThat(result.out()).startsWith("Usage: graft " + String.join(" ", path));
    assertThat(result.out()).contains(group ? "Commands:" : "Examples:");
    assertThat(result.lines()).allSatisfy(line -> assertThat(line.length()).isLessThan(81));
    assertThat(result.err()).isEmpty();
  }

  @Test
  void withoutArguments_helpWithATour() {
    Result result = Cli.run().done();
    assertThat(result.out())
        .contains("Usage: graft", "A short tour:", "Exit codes:", "pretrain", "143");
    assertThat(result.out()).isEqualTo(Cli.run("--help").out());
  }

  @Test
  void version() {
    assertThat(Cli.run("--version").done().out()).matches("graft \\d+\\.\\d+\\.\\d+.*\\R");
  }

  @Test
  void doctor_saysWhatTheMachineOffers() {
    assertThat(Cli.run("doctor", "--json").done().json().get(0).properties())
        .extracting(Map.Entry::getKey)
        .contains(
            "graft",
            "abi",
            "java",
            "processor",
            "instruction_set",
            "threads",
            "matrix_products",
            "default_dtype",
            "default_reason",
            "memory_gib",
            "cuda",
            "cublaslt",
            "cudnn",
            "advice");
    assertThat(Cli.run("doctor").done().out()).contains("matrix products", "oneDNN");
  }
}
