package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.io.Json;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Real processes, really stopped. Oracle of a resume: the bytes of a run that never stopped. */
class SignalsTest {
  private static final int STEPS = 400;

  @TempDir Path folder;
  private Path text;

  @BeforeEach
  void text() {
    text = Cli.text(folder.resolve("text.txt"));
  }

  /** A started command and its streams, in files so that no pipe can fill. */
  private record Started(Process process, Path out, Path err) {
    int end() throws InterruptedException {
      assertThat(process.waitFor(2, TimeUnit.MINUTES)).as("ended").isTrue();
      return process.exitValue();
    }

    String errors() throws IOException {
      return Files.readString(err);
    }

    /** Waits until the run has trained and saved something. */
    void awaitCheckpoint() throws Exception {
      await("\"checkpoint\"");
    }

    /** Waits until something is on standard output. */
    void await(String text) throws Exception {
      while (process.isAlive() && !Files.readString(out).contains(text)) {
        TimeUnit.MILLISECONDS.sleep(20);
      }
      assertThat(process.isAlive()).as(errors()).isTrue();
    }
  }

  private Started start(Object... arguments) throws IOException {
    // A process begun in the background inherits that SIGINT is ignored, and a JVM keeps to it.
    List<String> command = new ArrayList<>(List.of("env", "--default-signal=INT,TERM"));
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of("-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path")));
    command.add(Main.class.getName());
    for (Object argument : Cli.line(arguments)) {
      command.add(argument.toString());
    }
    Path out = Files.createTempFile(folder, "out", ".jsonl");
    Path err = Files.createTempFile(folder, "err", ".txt");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    return new Started(process, out, err);
  }

  private Object[] pretraining(Path run) {
    return Cli.line(
        "pretrain",
        List.of("--type", "gpt2", "--tokenizer-type", "char", "--dropout", "0.1"),
        List.of("--train", text, "--steps", STEPS, "--eval-every", "0"),
        List.of("--save-every", "20", "--log-every", "5", "--out", run, "--json"),
        Cli.SMALL);
  }

  private Started pretrain(Path run) throws IOException {
    return start(pretraining(run));
  }

  private static void signal(Process process, String name) throws Exception {
    assertThat(
            new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor())
        .isZero();
  }

  private byte[] uninterrupted() throws IOException {
    Path whole = folder.resolve("whole");
    Cli.run(pretraining(whole)).done();
    return Files.readAllBytes(whole.resolve("model/model.safetensors"));
  }

  private static byte[] resumed(Path run) throws IOException {
    Cli.run("pretrain", "--out", run, "--resume", "--json").done();
    return Files.readAllBytes(run.resolve("model/model.safetensors"));
  }

  @Test
  void stoppedAndKilledRuns_endBitIdentical() throws Exception {
    byte[] whole = uninterrupted();

    Path killed = folder.resolve("killed");
    for (int kill = 0; kill < 2; kill++) {
      Started run =
          kill == 0 ? pretrain(killed) : start("pretrain", "--out", killed, "--resume", "--json");
      run.awaitCheckpoint();
      run.process().destroyForcibly();
      assertThat(run.end()).isEqualTo(128 + 9);
    }
    assertThat(resumed(killed)).isEqualTo(whole);

    Path terminated = folder.resolve("terminated here");
    Started run = pretrain(terminated);
    run.awaitCheckpoint();
    signal(run.process(), "TERM");
    assertThat(run.end()).as(run.errors()).isEqualTo(ExitCode.TERMINATED);
    assertThat(run.errors())
        .contains("saved in", "to go on: graft pretrain --out '" + terminated + "' --resume");
    List<String> lines = Files.readAllLines(run.out());
    String last = lines.get(lines.size() - 1);
    assertThat(
            Json.parseObject(run.out(), last.getBytes(StandardCharsets.UTF_8)).get("type").asText())
        .isEqualTo("stopped");
    assertThat(resumed(terminated)).isEqualTo(whole);
  }

  @Test
  void interrupt_savesAndSaysHowToGoOn_andASecondEndsAtOnce() throws Exception {
    Path interrupted = folder.resolve("interrupted");
    Started run = pretrain(interrupted);
    run.awaitCheckpoint();
    signal(run.process(), "INT");
    assertThat(run.end()).as(run.errors()).isEqualTo(ExitCode.INTERRUPTED);
    assertThat(run.errors()).contains("stopping after this step", "to go on: graft pretrain");
    Cli.run("generate", "--model", interrupted, "the").refused("a run that has not ended");

    Path twice = folder.resolve("twice");
    Started second = pretrain(twice);
    second.awaitCheckpoint();
    signal(second.process(), "INT");
    signal(second.process(), "INT");
    assertThat(second.end()).isEqualTo(ExitCode.INTERRUPTED);
    assertThat(Cli.run("pretrain", "--out", twice, "--resume").done().out())
        .startsWith(STEPS + " steps");
  }

  /** The reading before a fine-tuning is stopped like any training; the command told goes on. */
  @Test
  void adaptation_stoppedAndGoneOnWith() throws Exception {
    Path bert = folder.resolve("bert");
    Cli.run(
            Cli.line(
                List.of("pretrain", "--type", "bert", "--train", text, "--out", bert),
                List.of("--documents", "blank-line", "--vocab-size", 60, "--steps", 2),
                Cli.SMALL))
        .done();
    Path out = folder.resolve("adapted here");
    Path reviews = Cli.reviews(folder.resolve("reviews.csv"), 20);
    Object[] command =
        Cli.line(
            List.of("finetune", "--model", bert, "--train", reviews, "--out", out, "--json"),
            List.of("--adapt-on", text, "--documents", "blank-line", "--adapt-epochs", 1000),
            List.of("--epochs", 1, "--threads", 1, "--dtype", "fp32", "--log-every", 5));
    Started run = start(command);
    run.await("\"train\"");
    signal(run.process(), "INT");
    assertThat(run.end()).as(run.errors()).isEqualTo(ExitCode.INTERRUPTED);
    assertThat(run.errors())
        .contains("steps before the fine-tuning, saved in " + out.resolve("adaptation"))
        .contains("to go on: graft finetune --model " + bert)
        .contains("--adapt-epochs 1000")
        .contains("--out '" + out + "'");
    Cli.run("finetune", "--out", out, "--resume")
        .refused("reading --adapt-on: give the whole command again");
    Started again = start(command);
    again.await("\"train\"");
    signal(again.process(), "TERM");
    assertThat(again.end()).as(again.errors()).isEqualTo(ExitCode.TERMINATED);
    assertThat(again.errors()).contains("going on after step");
  }

  /** Java of the POSIX locale writes '?' for what is not ASCII, unless told otherwise. */
  @Test
  void output_isUtf8InEveryLocale() throws Exception {
    Path tokenizer = folder.resolve("tokenizer");
    Path chinese = Cli.write(folder.resolve("zh.txt"), "床前明月光");
    Cli.run("tokenizer", "train", "--type", "char", "--input", chinese, "--output", tokenizer)
        .done();
    Path ids = Cli.write(folder.resolve("ids.txt"), "1 2 3");
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-cp",
            System.getProperty("java.class.path"),
            Main.class.getName(),
            "tokenizer",
            "decode",
            "--tokenizer",
            tokenizer.toString(),
            "--input",
            ids.toString());
    builder.environment().put("LC_ALL", "C");
    Process process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
    try (BufferedReader reader = process.inputReader(StandardCharsets.UTF_8)) {
      String expected =
          Cli.run("tokenizer", "decode", "--tokenizer", tokenizer, "--input", ids).done().out();
      assertThat(reader.readLine() + "\n").isEqualTo(expected);
    }
    assertThat(process.waitFor()).isZero();
  }
}
