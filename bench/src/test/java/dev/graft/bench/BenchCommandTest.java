package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import picocli.CommandLine;

class BenchCommandTest {
  @Test
  void jmh_getsItsOptionsAsTheyAre() {
    CommandLine bench = new CommandLine(new BenchCommand());
    bench.parseArgs("jmh", "TrainingStep", "-prof", "gc", "-f", "1", "-p", "dtype=bf16");
    BenchCommand.Jmh jmh = bench.getSubcommands().get("jmh").getCommand();
    assertThat(jmh.arguments)
        .containsExactly("TrainingStep", "-prof", "gc", "-f", "1", "-p", "dtype=bf16");
  }
}
