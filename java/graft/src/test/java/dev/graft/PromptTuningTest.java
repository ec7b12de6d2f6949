package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.apply.GenerationOptions;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptTemplate;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Gpt2Config;
import dev.graft.text.BpeTrainer;
import dev.graft.text.Tokenizer;
import dev.graft.train.CancellationToken;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A GPT-2 that learns to complete prompts. */
class PromptTuningTest {
  private static final String[] ANIMALS = {"fox", "hen"};

  @TempDir Path folder;
  private Path start;
  private Path train;
  private Path valid;

  @BeforeEach
  void begin() {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 32; i++) {
      String animal = ANIMALS[i % ANIMALS.length];
      lines.append(
          String.format("{\"document\": \"%s %d\", \"summary\": \"the %s\"}%n", animal, i, animal));
    }
    train = Fixtures.write(folder.resolve("train.jsonl"), lines.toString());
    valid =
        Fixtures.write(
            folder.resolve("valid.jsonl"), "{\"document\": \"fox 3\", \"summary\": \"the fox\"}\n");
    start = folder.resolve("start");
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(train), 320, 1);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Gpt2Config.of(1, 48, 32, 2, 2), tokenizer, Fixtures.small())) {
      model.savePretrained(start);
    }
  }

  private PromptTuning tuning(
      Path run, int steps, TrainingListener listener, CancellationToken token) {
    return new PromptTuning(
        start,
        PromptTemplate.SUMMARIZE,
        train,
        valid,
        0,
        0,
        Fixtures.options(steps)
            .batchSize(16)
            .logEvery(2)
            .runDirectory(run)
            .listener(listener)
            .cancellation(token)
            .build(),
        1);
  }

  @Test
  void summaries_areLearntAndTheTemplateIsKept() {
    Path run = folder.resolve("run");
    FitResult result = tuning(run, 80, TrainingListener.NONE, new CancellationToken()).run();
    assertThat(result.truncated()).isZero();
    for (String place : List.of("model", "best")) {
      try (GPT2LMHeadModel model =
          GPT2LMHeadModel.fromPretrained(run.resolve(place), Fixtures.small())) {
        assertThat(model.promptTemplate()).isEqualTo(PromptTemplate.SUMMARIZE);
      }
    }
    try (GPT2LMHeadModel model = GPT2LMHeadModel.fromPretrained(run, Fixtures.small())) {
      assertThat(model.summarize("fox 7")).isEqualTo("the fox");
      assertThat(
              model.complete(
                  List.of(new PromptExample("hen 8", null)), GenerationOptions.greedy(8)))
          .containsExactly("the hen");
      Map<String, Double> metrics =
          model.evaluate(
              List.of(
                  new PromptExample("hen 4", "the hen"), new PromptExample("hen 6", "the egg")));
      assertThat(metrics).containsEntry("rouge1", 0.75).containsEntry("rougeL", 0.75);
      assertThat(metrics.get("loss")).isPositive();
      model.savePretrained(folder.resolve("again"));
    }
    assertThat(PromptTemplate.of(folder.resolve("again"))).isEqualTo(PromptTemplate.SUMMARIZE);
  }

  /** Oracle: the run that never stopped, byte by byte. */
  @Test
  void runs_areResumedFromTheirDirectory() {
    Path whole = folder.resolve("whole");
    Path broken = folder.resolve("broken");
    CancellationToken token = new CancellationToken();
    TrainingListener stop =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            token.cancel();
          }
        };
    tuning(whole, 8, TrainingListener.NONE, new CancellationToken()).run();
    assertThat(tuning(broken, 8, stop, token).run().cancelled()).isTrue();
    FitResult resumed = PromptTuning.resume(broken, TrainingListener.NONE, new CancellationToken());
    assertThat(resumed.cancelled()).isFalse();
    for (String file : List.of("model.safetensors", "prompt_template.json")) {
      assertThat(broken.resolve("model").resolve(file))
          .hasSameBinaryContentAs(whole.resolve("model").resolve(file));
    }
  }

  @Test
  void badData_leavesNoRunDirectory() {
    Fixtures.write(valid, "{\"document\": \"x\"}\n");
    Path run = folder.resolve("none");
    assertThatThrownBy(() -> tuning(run, 2, TrainingListener.NONE, new CancellationToken()).run())
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(valid + ": line 1: there is no text to learn");
    assertThat(run).doesNotExist();
  }
}
