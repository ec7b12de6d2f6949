package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.apply.Prediction;
import dev.graft.data.Columns;
import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
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
    return BertForSequenceClassification.create(Fixtures.bert(), tokenizer, Fixtures.small());
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

  @Test
  void badLabels_areRefusedByNameAndLeaveTheModel() {
    Dataset train = Fixtures.reviews(20, 1);
    Dataset strange = Dataset.of(List.of("a film"), List.of("mixed"));
    Dataset unlabelled = Dataset.of(List.of(new LabelledExample("a film", null)));
    Dataset one = Dataset.of(List.of("a", "b"), List.of("same", "same"));
    try (BertForSequenceClassification model = model()) {
      assertThatThrownBy(() -> model.fit(train, strange))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("'mixed' is not one of the 2 classes [negative, positive]");
      assertThatThrownBy(() -> model.fit(unlabelled, null))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("has no label");
      assertThatThrownBy(() -> model.fit(one, null))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("at least two classes");
      assertThat(model.labels()).isEmpty();
      assertThatThrownBy(() -> model.predict("a film"))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("no classes yet");
    }
    assertThatThrownBy(() -> Dataset.of(List.of()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("no examples");
  }

  /** The encoder of a masked-word model comes over bit by bit; its head stays behind. */
  @Test
  void encoderOfAnotherModel_isLoadedUnderANewHead() {
    Path pretrained = folder.resolve("mlm");
    float[] word;
    try (BertForMaskedLM mlm =
        BertForMaskedLM.create(Fixtures.bert(), tokenizer, Fixtures.small().withSeed(99))) {
      mlm.savePretrained(pretrained);
      word = mlm.network().parameters().all().get(0).weight().floats();
    }
    Path classifier = folder.resolve("classifier");
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromPretrained(pretrained, Fixtures.small())) {
      assertThat(model.labels()).isEmpty();
      model.fit(Fixtures.reviews(16, 1), null, Fixtures.options(1).learningRate(1e-30).build());
      assertThat(model.labels()).containsExactly("negative", "positive");
      assertThat(model.network().parameters().all().get(0).weight().floats()).isEqualTo(word);
      model.savePretrained(classifier);
    }
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromEncoder(
            classifier, List.of("a", "b", "c"), Fixtures.small())) {
      assertThat(model.labels()).containsExactly("a", "b", "c");
      assertThatThrownBy(() -> model.fit(Fixtures.reviews(16, 1), null))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("'positive' is not one of the 3 classes")
          .hasMessageContaining("begin a new head");
      assertThat(model.predict("a film").classes()).hasSize(3);
      assertThat(model.network().parameters().all().get(0).weight().floats()).isEqualTo(word);
    }
  }

  /** Oracle: the probabilities of predict, by the definitions. Tolerance: rounding of sums. */
  @Test
  void evaluate_equalsAComputationByHand() {
    Dataset test = Fixtures.reviews(50, 5);
    try (BertForSequenceClassification model = model()) {
      model.fit(Fixtures.reviews(80, 1), null, Fixtures.options(8).build());
      double loss = 0;
      int right = 0;
      int[][] counts = new int[2][2];
      List<Prediction> predictions = model.predict(test);
      for (int i = 0; i < test.size(); i++) {
        String label = test.examples().get(i).label();
        Prediction p = predictions.get(i);
        loss -=
            Math.log(
                p.classes().stream()
                    .filter(c -> c.name().equals(label))
                    .findFirst()
                    .orElseThrow()
                    .probability());
        right += p.label().equals(label) ? 1 : 0;
        counts[model.labels().indexOf(label)][model.labels().indexOf(p.label())]++;
      }
      double f1 = 0;
      for (int c = 0; c < 2; c++) {
        int both = counts[c][0] + counts[c][1] + counts[0][c] + counts[1][c];
        f1 += 2.0 * counts[c][c] / both / 2;
      }
      Map<String, Double> metrics = model.evaluate(test);
      assertThat(metrics.get("loss")).isCloseTo(loss / test.size(), within(1e-6));
      assertThat(metrics.get("accuracy")).isEqualTo((double) right / test.size());
      assertThat(metrics.get("f1_macro")).isCloseTo(f1, within(1e-12));
      assertThat(metrics).containsEntry("examples", 50.0).containsEntry("truncated", 0.0);
    }
  }

  @Test
  void longTexts_areCutAndCounted() {
    String longText = "lovely film ".repeat(40);
    Dataset train =
        Dataset.of(
            List.of(longText, "dull film", "great song", "tedious play"),
            List.of("positive", "negative", "positive", "negative"));
    try (BertForSequenceClassification model = model()) {
      FitResult result = model.fit(train, train, Fixtures.options(2).build());
      assertThat(result.truncated()).isEqualTo(2);
      assertThat(result.summary()).contains("2 texts were cut");
      assertThat(model.predict(longText).truncated()).isTrue();
      assertThat(model.predict("dull film").truncated()).isFalse();
      assertThat(model.evaluate(train)).containsEntry("truncated", 1.0);
    }
  }

  @Test
  void streamedData_isAsDataInMemory() {
    StringBuilder csv = new StringBuilder("text,label\n");
    Fixtures.reviews(30, 2)
        .forEach(
            e -> csv.append('"').append(e.text()).append("\",").append(e.label()).append('\n'));
    Path file = Fixtures.write(folder.resolve("data.csv"), csv.toString());
    Dataset read = Dataset.fromFile(file);
    Dataset streamed = Dataset.streamed(file, Columns.detect());
    assertThat(streamed.examples()).isEqualTo(read.examples());
    try (BertForSequenceClassification a = model();
        BertForSequenceClassification b = model()) {
      a.fit(read, null, Fixtures.options(3).build());
      b.fit(streamed, null, Fixtures.options(3).build());
      assertThat(b.evaluate(streamed)).isEqualTo(a.evaluate(read));
    }
    assertThatThrownBy(() -> Dataset.streamed(folder.resolve("none.csv"), Columns.detect()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("none.csv: no such file");
  }

  /** Packing mixes no texts. Oracle: each text alone. Tolerance: products of another height. */
  @Test
  void textsTogether_answerAsEachAlone() {
    List<String> texts = new ArrayList<>();
    Fixtures.reviews(90, 4).forEach(e -> texts.add(e.text()));
    for (int i = 0; i < texts.size(); i += 7) {
      texts.set(i, (texts.get(i) + " ").repeat(1 + i % 4));
    }
    try (BertForSequenceClassification model = model()) {
      model.fit(Fixtures.reviews(64, 1), null, Fixtures.options(20).build());
      List<Prediction> together = model.predict(texts);
      assertThat(together).hasSize(texts.size());
      for (int i = 0; i < texts.size(); i++) {
        Prediction alone = model.predict(texts.get(i));
        assertThat(alone.label()).isEqualTo(together.get(i).label());
        assertThat(alone.probability()).isCloseTo(together.get(i).probability(), within(1e-5));
      }
      // A second text is not ignored.
      assertThat(model.predict("the film was dull", "the book was lovely").probability())
          .isNotEqualTo(model.predict("the film was dull").probability());
    }
  }
}
