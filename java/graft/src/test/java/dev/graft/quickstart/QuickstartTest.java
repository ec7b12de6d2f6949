package dev.graft.quickstart;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.BertForMaskedLM;
import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.GPT2LMHeadModel;
import dev.graft.apply.GenerationOptions;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.quickstart.QuickstartOptions.Scale;
import dev.graft.train.CancellationToken;
import dev.graft.train.StepEvent;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The quickstart at a scale of seconds: its files, its figures' form, its determinism. */
@Timeout(600)
class QuickstartTest {
  private static final Scale TINY = new Scale(6, 0.02, 0.25, 2, 1, List.of(1e-3, 2e-3), 20);

  @TempDir Path folder;

  private static QuickstartOptions options(Path directory, long seed) {
    return new QuickstartOptions(directory, seed, 2, TINY, new CancellationToken());
  }

  @Test
  void aRun_leavesModelsCurvesAndFigures_andIsAFunctionOfItsSeed() throws IOException {
    Set<Job> heard = EnumSet.noneOf(Job.class);
    AtomicInteger trials = new AtomicInteger();
    QuickstartListener listener =
        new QuickstartListener() {
          @Override
          public void onStep(Job job, StepEvent event) {
            heard.add(job);
          }

          @Override
          public void onTrial(Job arm, double learningRate, double validationAccuracy) {
            trials.incrementAndGet();
          }
        };
    Path first = folder.resolve("first");
    QuickstartResult result = Quickstart.run(options(first, 5), listener).orElseThrow();
    assertThat(heard).containsExactlyInAnyOrder(Job.values());
    assertThat(trials).hasValue(4);

    // ln 66 = 4.19 for an equal guess among the characters: the loss is one of a whole split.
    assertThat(result.gpt().validationLoss()).isBetween(3.0, 4.3);
    // As long as asked, less the unknown character, which an untrained network may draw.
    assertThat(result.gpt().text()).hasSizeBetween(10, 20);
    for (String picture : List.of("gpt/loss.png", "pretraining/loss.png", "fine-tuning.png")) {
      assertThat(Files.readAllBytes(first.resolve(picture)))
          .as(picture)
          .startsWith(0x89, 'P', 'N', 'G');
    }
    assertUsable(result);
    assertFigures(first, result);

    QuickstartResult again =
        Quickstart.run(options(folder.resolve("again"), 5), QuickstartListener.NONE).orElseThrow();
    assertThat(again.gpt().validationLoss()).isEqualTo(result.gpt().validationLoss());
    assertThat(again.gpt().text()).isEqualTo(result.gpt().text());
    for (String weights : List.of("gpt/model", "pretraining/model", "transfer", "scratch")) {
      assertThat(folder.resolve("again").resolve(weights).resolve("model.safetensors"))
          .as(weights)
          .hasSameBinaryContentAs(first.resolve(weights).resolve("model.safetensors"));
    }
  }

  /** As a user would: every directory that is told of loads and answers. */
  private static void assertUsable(QuickstartResult result) {
    try (GPT2LMHeadModel gpt = GPT2LMHeadModel.fromPretrained(result.gpt().model())) {
      assertThat(gpt.generate("ROMEO:", GenerationOptions.greedy(3))).hasSizeBetween(1, 3);
    }
    try (BertForMaskedLM bert = BertForMaskedLM.fromPretrained(result.bert().pretrained())) {
      assertThat(bert.fillMask("my [MASK]", 2).get(0)).hasSize(2);
    }
    Path test = result.directory().resolve("data/banking77-test.csv");
    for (QuickstartResult.Arm arm : List.of(result.bert().transfer(), result.bert().scratch())) {
      try (BertForSequenceClassification bert =
          BertForSequenceClassification.fromPretrained(arm.model())) {
        assertThat(bert.labels()).hasSize(77);
        // The test file as the user finds it; bf16 in training, fp32 here.
        assertThat(bert.evaluate(Dataset.fromFile(test)).get("accuracy"))
            .isBetween(arm.testAccuracy() - 0.02, arm.testAccuracy() + 0.02);
      }
    }
  }

  private static void assertFigures(Path directory, QuickstartResult result) throws IOException {
    String line = Json.line(result.toJson());
    assertThat(line)
        .matches(
            "\\{\"gpt\":\\{\"validation_loss\":[\\d.]+,\"seconds\":[\\d.]+},"
                + "\"bert\":\\{\"transfer_accuracy\":[\\d.]+,\"scratch_accuracy\":[\\d.]+,"
                + "\"seconds\":[\\d.]+}}");
    JsonNode kept = Json.MAPPER.readTree(directory.resolve("result.json").toFile());
    assertThat(kept).isEqualTo(Json.MAPPER.readTree(line));
    assertThat(kept.at("/bert/transfer_accuracy").asDouble())
        .isBetween(0.0, 1.0)
        .isNotEqualTo(Double.NaN);
  }

  @Test
  void cancelled_endsWithoutAResult() {
    CancellationToken token = new CancellationToken();
    QuickstartOptions options = new QuickstartOptions(folder.resolve("run"), 5, 1, TINY, token);
    QuickstartListener listener =
        new QuickstartListener() {
          @Override
          public void onStep(Job job, StepEvent event) {
            token.cancel();
          }
        };
    assertThat(Quickstart.run(options, listener)).isEmpty();
    assertThat(folder.resolve("run/result.json")).doesNotExist();
  }

  @Test
  void aFailedJob_endsTheOthers_withItsReason() {
    QuickstartListener listener =
        new QuickstartListener() {
          @Override
          public void onStep(Job job, StepEvent event) {
            if (job == Job.PRETRAINING) {
              throw new IllegalStateException("broken listener");
            }
          }
        };
    assertThatThrownBy(() -> Quickstart.run(options(folder.resolve("run"), 5), listener))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("broken listener");
  }

  @Test
  void aFolderInUse_isLeftAlone() throws IOException {
    Files.writeString(folder.resolve("mine.txt"), "mine");
    assertThatThrownBy(() -> Quickstart.run(options(folder, 1), QuickstartListener.NONE))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(folder + ": is there and not empty; name another folder");
    assertThat(folder.toFile().list()).containsExactly("mine.txt");
  }
}
