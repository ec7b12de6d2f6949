package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.apply.Prediction;
import dev.graft.data.Corpus;
import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.BertConfig;
import dev.graft.model.EncoderFamily;
import dev.graft.model.Task;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The face of BERT serves its families. Their numbers are judged by {@code PeerFixturesTest}. */
class EncoderFamiliesTest {
  private static final int LONGEST = 32;

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

  private static BertConfig shape(EncoderFamily family) {
    return BertConfig.of(family, 1, LONGEST, 32, 2, 2, 64);
  }

  /** As pairs, so that the tokenizer tells segments apart, whether the family does or not. */
  private static Dataset pairs(int count, long seed) {
    List<LabelledExample> pairs =
        Fixtures.reviews(count, seed).examples().stream()
            .map(one -> new LabelledExample("the film", one.text(), one.label()))
            .toList();
    return Dataset.of(pairs);
  }

  @ParameterizedTest
  @EnumSource(EncoderFamily.class)
  void classifiers_learnAreSavedAndRead(EncoderFamily family) {
    Path saved = folder.resolve("saved");
    Dataset test = pairs(40, 3);
    List<Prediction> before;
    try (var model =
        BertForSequenceClassification.create(shape(family), tokenizer, Fixtures.small())) {
      FitResult result = model.fit(pairs(160, 1), pairs(80, 2), Fixtures.options(80).build());
      assertThat(result.validation().get("accuracy")).isGreaterThan(0.9);
      assertThat(model.predict("film ".repeat(100)).truncated()).isTrue();
      before = model.predict(test);
      model.savePretrained(saved);
    }
    assertThat(Json.readObject(saved.resolve("config.json")).get("model_type").asText())
        .isEqualTo(family.modelType());
    try (var model = BertForSequenceClassification.fromPretrained(saved)) {
      assertThat(model.predict(test)).isEqualTo(before);
      assertThat(((BertConfig) model.config()).family()).isEqualTo(family);
      assertThat(model.config().maxPositions()).isEqualTo(LONGEST);
    }
    // The body goes on under another head.
    try (var model = BertModel.fromPretrained(saved)) {
      assertThat(model.embed("a lovely song")).hasSize(32).doesNotContain(Float.NaN);
    }
  }

  @ParameterizedTest
  @EnumSource(EncoderFamily.class)
  void maskedWords_areLearnt(EncoderFamily family) {
    Corpus text = Corpus.of(Fixtures.text(folder, 300));
    Path saved = folder.resolve("saved");
    List<Double> losses = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            losses.add(event.loss());
          }
        };
    List<Prediction.Scored> before;
    try (var model = BertForMaskedLM.create(shape(family), tokenizer, Fixtures.small())) {
      model.fit(text, null, Fixtures.options(400).listener(listener).build());
      before = model.fillMask("the film [MASK] lovely", 3).get(0);
      model.savePretrained(saved);
    }
    double last = mean(losses.subList(losses.size() * 3 / 4, losses.size()));
    assertThat(last).isLessThan(0.75 * losses.get(0));
    try (var model = BertForMaskedLM.fromPretrained(saved)) {
      assertThat(model.fillMask("the film [MASK] lovely", 3).get(0)).isEqualTo(before);
    }
    assertThat(PreTrainedModel.taskOf(saved)).isEqualTo(Task.MASKED_LM);
    if (family != EncoderFamily.BERT) {
      assertThatThrownBy(() -> BertForPreTraining.fromPretrained(saved))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("expected bert, this is a " + family.modelType() + " model");
    }
    assertThatThrownBy(() -> GPT2LMHeadModel.fromPretrained(saved))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("expected gpt2, this is a " + family.modelType() + " model");
  }

  private static double mean(List<Double> values) {
    return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }
}
