package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.apply.Prediction.Scored;
import dev.graft.quickstart.Job;
import dev.graft.quickstart.QuickstartListener;
import dev.graft.quickstart.QuickstartOptions.Scale;
import dev.graft.quickstart.QuickstartPlan;
import dev.graft.quickstart.QuickstartResult;
import dev.graft.quickstart.QuickstartResult.Answer;
import dev.graft.quickstart.QuickstartResult.Arm;
import dev.graft.quickstart.QuickstartResult.Bert;
import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.train.StepEvent;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code graft quickstart} says; what it trains is the library's test. */
class QuickstartCommandTest {
  private static final Path RUN = Path.of("runs", "quickstart");
  private static final Gpt GPT =
      new Gpt(
          809_984,
          1.9012,
          61.27,
          "ROMEO:",
          "\nWhat light",
          // As the trainer tells it.
          RUN.resolve("gpt/model").toAbsolutePath(),
          RUN.resolve("gpt/loss.png").toAbsolutePath());

  @TempDir Path folder;

  private static Arm arm(String name, double rate, double test, String intent) {
    return new Arm(
        rate,
        test - 0.01,
        test,
        List.of(),
        RUN.resolve(name),
        List.of(new Answer("Where is my card?", new Scored(intent, 0.87))));
  }

  private static QuickstartResult result() {
    return new QuickstartResult(
        GPT,
        new Bert(
            arm("transfer", 2e-3, 0.6708, "card_arrival"),
            arm("scratch", 1e-3, 0.561, "pin_blocked"),
            171.04,
            RUN.resolve("pretraining/model"),
            RUN.resolve("pretraining/loss.png"),
            RUN.resolve("fine-tuning.png")),
        RUN);
  }

  private static void tell(QuickstartListener listener) {
    listener.onPrepared(
        new QuickstartPlan(
            RUN, 3, 2, 2, "bf16", "oneDNN", 1_115_394, 9_992, 77, 770, 770, 3_080, Scale.full()));
    listener.onStep(Job.GPT, new StepEvent(100, 2_000, 0, 2.5, 1, 1e-3, 76_800, 20_000, 4, 75, 0));
    listener.onStep(
        Job.GPT, new StepEvent(200, 2_000, 0, 2.25, 1, 1e-3, 153_600, 20_000, 8, 71, 0));
    listener.onValidation(500, 2.375);
    listener.onPretrained(1.5, "my [MASK]", Map.of("card", 0.6));
    listener.onTrial(Job.SCRATCH, 1e-3, 0.5);
    listener.onValidation(2_000, 1.9012);
    listener.onGpt(GPT);
  }

  @Test
  void story_tellsCourseTextFiguresAndWhatIsNext() {
    StringWriter text = new StringWriter();
    QuickstartStory story = new QuickstartStory(new PrintWriter(text));
    tell(story);
    story.end(result());
    assertThat(text.toString())
        .contains("(2 threads, bf16, oneDNN, seed 3)")
        .contains("step    100 of  2,000   loss 2.500   1:15 left")
        // Within seconds of the line before it.
        .doesNotContain("step    200")
        .contains("on text it never read: loss 2.375")
        .contains("\"my [MASK]\": card 60 %")
        .contains("learning rate 1e-03: 50.0 % of the validation questions right")
        .contains("loss 1.901 a letter", "      ROMEO:", "      What light")
        .containsPattern("pretrained +2e-03 +66.1 % +67.1 %")
        .containsPattern("from scratch +1e-03 +55.1 % +56.1 %")
        .containsPattern("gain +\\+11.0 points")
        .contains("card_arrival (87 %)", "pin_blocked (87 %)")
        .contains("      gpt/loss.png  ", "      fine-tuning.png  ")
        .contains("generate --model " + RUN.resolve("gpt/model") + " \"JULIET:\"");
    assertThat(text.toString().lines()).allSatisfy(line -> assertThat(line).hasSizeLessThan(100));
  }

  @Test
  void lines_areOneObjectAnEvent() {
    List<JsonNode> lines = new ArrayList<>();
    tell(new QuickstartLines(lines::add));
    assertThat(lines)
        .extracting(line -> line.get("event").asText())
        .containsExactly(
            "prepared",
            "step",
            "step",
            "validation",
            "pretrained",
            "trial",
            "validation",
            "written");
    assertThat(lines.get(2).get("job").asText()).isEqualTo("gpt");
    assertThat(lines.get(2).get("seconds_left").asDouble()).isEqualTo(71);
    assertThat(lines.get(5).get("job").asText()).isEqualTo("scratch");
  }

  @Test
  void figures_areTheLineThatIsPromised() {
    assertThat(result().toJson())
        .hasToString(
            "{\"gpt\":{\"validation_loss\":1.9012,\"seconds\":61.3},"
                + "\"bert\":{\"transfer_accuracy\":0.6708,\"scratch_accuracy\":0.561,"
                + "\"seconds\":171.0}}");
  }

  @Test
  void badInput_isRefusedInALine() {
    Cli.write(folder.resolve("mine.txt"), "mine");
    Cli.run("quickstart", "--out", folder).refused(folder.toString(), "not empty");
    assertThat(folder.toFile().list()).containsExactly("mine.txt");
    Cli.run("quickstart", "--out", folder.resolve("new"), "--threads", "-1")
        .refused("threads: expected at least 0, got -1");
    assertThat(folder.resolve("new")).doesNotExist();
  }
}
