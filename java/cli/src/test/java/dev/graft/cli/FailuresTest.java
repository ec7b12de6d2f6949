package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;

class FailuresTest {
  @Test
  void wrongUsage_isToldInALineWithTheWayToHelp() {
    Cli.run("trace", "--model", "m", "--inputs", "i", "--no-such").refused("--no-such");
    Cli.run("generat").refused("generat").err().contains("generate");
    Cli.run("trace").refused("--model", "Try: graft trace --help");
    Cli.run("tokenizer").refused("a command is missing: train, encode, decode");
    Cli.run("pretrain", "--type", "gpt3", "--out", "x").refused("gpt3");
    Cli.run("pretrain", "--out", "x", "--documents", "page").refused("page");
    Cli.run("doctor", "--threads", "many").refused("many");
    Cli.run("bench", "kernels").refused("./graft bench");
  }

  @Test
  void deviceThatIsNotThere_isToldWithTheWayToIt() {
    Object[] evaluate = {
      "evaluate", "--model", Cli.MODELS.resolve("generated-bert"), "--data", "x", "--device", ""
    };
    evaluate[6] = "gpu";
    Cli.run(evaluate).refused("--device: expected cpu, cuda, cuda:N or auto, got gpu");
    assumeTrue(Devices.whyNoCuda() != null, "no card");
    evaluate[6] = "cuda:1";
    Cli.run(evaluate).refused("--device cuda:1: " + Devices.whyNoCuda(), "graft doctor");
  }

  @Test
  void codeAndWordsByKind() {
    assertThat(report(new InvalidInputException("a.txt: no such file"), false))
        .isEqualTo(List.of("2", "graft: a.txt: no such file"));
    assertThat(report(new IllegalArgumentException("of this API"), false))
        .startsWith("2"); // its first frame is in dev.graft
    assertThat(report(new IllegalStateException("odd\n thing"), false))
        .startsWith("1", "graft: a defect: IllegalStateException: odd thing")
        .anyMatch(line -> line.contains("--verbose"));
    assertThat(report(new OutOfMemoryError("Java heap space"), false))
        .startsWith("1")
        .anyMatch(line -> line.contains("-Xmx"));
    assertThat(foreign()).startsWith("1");
    assertThat(report(new StandardStreams.OutputFailed(new IOException("Broken pipe")), false))
        .isEqualTo(List.of("141"));
    assertThat(
            report(
                new StandardStreams.OutputFailed(new IOException("No space left on device")),
                false))
        .isEqualTo(List.of("2", "graft: standard output: No space left on device"));
  }

  @Test
  void stackTraces_onlyWhenAskedFor() {
    assertThat(report(new InvalidInputException("x"), false)).noneMatch(l -> l.contains("\tat "));
    assertThat(report(new InvalidInputException("x"), true)).anyMatch(l -> l.contains("\tat "));
    assertThat(Cli.run("predict", "--model", "none", "x", "--verbose").err()).contains("\tat ");
  }

  /** An argument check of a library, not of Graft: a defect of the call. */
  private static List<String> foreign() {
    try {
      Integer.parseInt("x");
      throw new AssertionError();
    } catch (IllegalArgumentException e) {
      return report(e, false);
    }
  }

  private static List<String> report(Throwable failure, boolean verbose) {
    StringWriter err = new StringWriter();
    int code = Failures.report(failure, new PrintWriter(err), verbose);
    return List.of((code + "\n" + err).split("\\R"));
  }
}
