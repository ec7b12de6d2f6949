package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.DType;
import dev.graft.train.CancellationToken;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DomainAdaptationTest {
  @TempDir Path folder;
  private Path model;
  private Corpus texts;

  @BeforeEach
  void model() {
    model = folder.resolve("model");
    texts = Corpus.of(Fixtures.text(folder, 200)).documents(DocumentMode.LINE);
    try (BertTokenizer tokenizer = Fixtures.bertTokenizer(folder);
        BertForMaskedLM fresh =
            BertForMaskedLM.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      fresh.savePretrained(model);
    }
  }

  private DomainAdaptation adaptation() {
    return DomainAdaptation.of(model, texts, folder.resolve("adapted")).threads(1).epochs(2);
  }

  private static double loss(Path directory, Corpus texts) {
    try (BertForMaskedLM read = BertForMaskedLM.fromPretrained(directory, Fixtures.small())) {
      return read.evaluate(texts).get("loss");
    }
  }

  @Test
  void adapted_readsItsFieldBetter_andIsNotDoneAgain() {
    Path adapted = adaptation().run();
    assertThat(loss(adapted, texts)).isLessThan(loss(model, texts) - 0.05);
    List<Long> steps = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            steps.add(event.step());
          }
        };
    DomainAdaptation again =
        adaptation().training(DomainAdaptation.recipe(DType.FLOAT32).listener(listener).build());
    assertThat(again.run()).isEqualTo(adapted);
    assertThat(steps).isEmpty();
    assertThatThrownBy(() -> adaptation().epochs(3).run())
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("training.epochs was 2.0, is 3.0");
    try (BertForSequenceClassification classifier =
        BertForSequenceClassification.fromPretrained(adapted, Fixtures.small())) {
      Map<String, Double> validation =
          classifier
              .fit(Fixtures.reviews(40, 1), Fixtures.reviews(20, 2), Fixtures.options(5).build())
              .validation();
      assertThat(validation).containsKey("accuracy");
    }
  }

  @Test
  void stopped_goesOnWhereItWas() {
    CancellationToken token = new CancellationToken();
    List<Long> resumed = new ArrayList<>();
    TrainingListener stops =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            token.cancel();
          }
        };
    TrainingListener hears =
        new TrainingListener() {
          @Override
          public void onResume(Path checkpoint, long step) {
            resumed.add(step);
          }
        };
    var recipe = DomainAdaptation.recipe(DType.FLOAT32).logEvery(3);
    DomainAdaptation first =
        adaptation().training(recipe.listener(stops).cancellation(token).build());
    assertThat(first.run()).isNull();
    DomainAdaptation second =
        adaptation().training(recipe.listener(hears).cancellation(new CancellationToken()).build());
    assertThat(second.run()).isEqualTo(folder.resolve("adapted/model"));
    assertThat(resumed).containsExactly(3L);
  }
}
