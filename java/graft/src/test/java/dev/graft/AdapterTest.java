package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.apply.Prediction;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Lora;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** LoRA as a user meets it: fit, save the adapter, load it, merge it. */
class AdapterTest {
  private static final List<String> TEXTS = List.of("the film was lovely", "a dull song", "meal");
  @TempDir Path folder;

  private Path base() {
    try (BertTokenizer tokenizer = Fixtures.bertTokenizer(folder);
        BertForMaskedLM model =
            BertForMaskedLM.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      model.savePretrained(folder.resolve("base"));
      return folder.resolve("base");
    }
  }

  private static TrainingOptions.Builder lora() {
    return Fixtures.options(150).learningRate(4e-3).lora(Lora.rank(4).targets(Lora.ALL_LINEAR));
  }

  private static double[][] probabilities(BertForSequenceClassification model) {
    return model.predict(TEXTS).stream()
        .map(p -> p.classes().stream().mapToDouble(Prediction.Scored::probability).toArray())
        .toArray(double[][]::new);
  }

  private static void assertClose(double[][] got, double[][] want) {
    for (int i = 0; i < want.length; i++) {
      assertThat(got[i]).as(TEXTS.get(i)).containsExactly(want[i], within(1e-6));
    }
  }

  @Test
  void fittedAdapter_savedLoadedAndMerged_answersAlike() {
    Path base = base();
    List<String> prepared = new ArrayList<>();
    double[][] answers;
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromEncoder(
            base, List.of("negative", "positive"), Fixtures.small())) {
      double[][] before = probabilities(model);
      TrainingListener listener =
          new TrainingListener() {
            @Override
            public void onPrepare(String what) {
              prepared.add(what);
            }
          };
      FitResult result =
          model.fit(
              Fixtures.reviews(160, 1), Fixtures.reviews(80, 2), lora().listener(listener).build());
      // Over a body of random weights; half is chance.
      assertThat(result.validation().get("accuracy")).isGreaterThan(0.7);
      answers = probabilities(model);
      assertThat(answers[0][0]).isNotCloseTo(before[0][0], within(0.05));
      assertThat(model.adapter().rank()).isEqualTo(4);
      model.saveAdapter(folder.resolve("adapter"));
      model.savePretrained(folder.resolve("merged"));
      model.mergeAdapter();
      assertThat(model.adapter()).isNull();
      assertClose(probabilities(model), answers);
      assertThatThrownBy(() -> model.saveAdapter(folder.resolve("other")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("no adapter");
    }
    assertThat(prepared)
        .anyMatch(line -> line.startsWith("training ") && line.contains("in adapters"));
    assertThat(folder.resolve("adapter/model.safetensors")).doesNotExist();
    for (String saved : List.of("adapter", "merged")) {
      try (BertForSequenceClassification model =
          BertForSequenceClassification.fromPretrained(folder.resolve(saved), Fixtures.small())) {
        assertThat(model.labels()).containsExactly("negative", "positive");
        assertClose(probabilities(model), answers);
      }
    }
  }

  @Test
  void adapterOnALoadedModel_reachesPredictorsThatAnsweredBefore() {
    Path base = base();
    try (BertForSequenceClassification fitted =
            BertForSequenceClassification.fromEncoder(
                base, List.of("negative", "positive"), Fixtures.small());
        BertForSequenceClassification other =
            BertForSequenceClassification.fromEncoder(
                base, List.of("negative", "positive"), Fixtures.small())) {
      fitted.fit(Fixtures.reviews(60, 1), null, lora().steps(20).build());
      fitted.saveAdapter(folder.resolve("adapter"));
      double[][] before = probabilities(other);
      other.loadAdapter(folder.resolve("adapter"));
      assertThat(probabilities(other)).isNotEqualTo(before);
      assertClose(probabilities(other), probabilities(fitted));
      assertThatThrownBy(() -> other.loadAdapter(folder.resolve("adapter")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("merge it first");
    }
  }

  @Test
  void anAdapterWithoutItsBase_saysSo() throws Exception {
    Path base = base();
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromEncoder(
            base, List.of("negative", "positive"), Fixtures.small())) {
      model.fit(Fixtures.reviews(20, 1), null, lora().steps(2).build());
      model.saveAdapter(folder.resolve("adapter"));
    }
    Files.move(base, folder.resolve("elsewhere"));
    assertThatThrownBy(
            () -> BertForSequenceClassification.fromPretrained(folder.resolve("adapter")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("base_model_name_or_path")
        .hasMessageContaining("is not there");
  }
}
