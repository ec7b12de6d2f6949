package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.apply.Prediction;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BertForSequenceClassificationTest {
  @TempDir Path folder;
  private BertTokenizer tokenizer;

  @BeforeEach
  void tokenizer() {
    tokenizer = Fixtures.bertTokenizer(folder);
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private BertForSequenceClassification model() {
    return BertForSequenceClassification.create(
        Fixtures.bert(), tokenizer, ModelOptions.defaults());
  }

  private static List<Double> probabilities(List<Prediction> predictions) {
    return predictions.stream().map(Prediction::probability).toList();
  }

  /** One word tells the classes apart, so nearly all of new sentences must come out right. */
  @Test
  void fit_learnsLabelsOfTheData() {
    List<Double> losses = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            losses.add(event.loss());
          }
        };
    try (BertForSequenceClassification model = model()) {
      FitResult result =
          model.fit(
              Fixtures.reviews(160, 1),
              Fixtures.reviews(80, 2),
              Fixtures.options(60).listener(listener).build());
      assertThat(model.labels()).containsExactly("negative", "positive");
      assertThat(result.labels()).isEqualTo(model.labels());
      assertThat(losses.get(losses.size() - 1)).isLessThan(0.5 * losses.get(0));
      assertThat(result.validation().get("accuracy")).isGreaterThan(0.9);
      assertThat(model.predict("what a splendid meal").label()).isEqualTo("positive");
      assertThat(model.predict("the song was tedious").label()).isEqualTo("negative");
      assertThat(result.truncated()).isZero();
    }
  }

  @Test
  void savedAndLoaded_predictsTheSame() {
    Dataset test = Fixtures.reviews(40, 3);
    List<Prediction> before;
    try (BertForSequenceClassification model = model()) {
      model.fit(Fixtures.reviews(80, 1), null, Fixtures.options(20).build());
      before = model.predict(test);
      model.savePretrained(folder.resolve("saved"));
    }
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromPretrained(folder.resolve("saved"))) {
      assertThat(model.predict(test)).isEqualTo(before);
    }
  }
}
