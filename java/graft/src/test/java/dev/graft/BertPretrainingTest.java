package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.apply.Prediction;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** BERT's two pretraining objectives, on sentences of few words. */
class BertPretrainingTest {
  private static final List<String> THINGS =
      List.of("film", "book", "play", "song", "meal", "hotel");

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

  private Corpus corpus() {
    return Corpus.of(Fixtures.text(folder, 200)).documents(DocumentMode.LINE);
  }

  @Test
  void maskedWords_areLearned() {
    Path saved = folder.resolve("mlm");
    List<List<Prediction.Scored>> filled;
    String text = "the [MASK] was [MASK]";
    try (BertForMaskedLM model =
        BertForMaskedLM.create(Fixtures.bert().withDropout(0, 0, 0), tokenizer, Fixtures.small())) {
      double before = model.evaluate(corpus()).get("loss");
      FitResult result = model.fit(corpus(), corpus(), Fixtures.options(150).batchSize(16).build());
      assertThat(result.validation().get("loss")).isLessThan(0.6 * before);
      // Other batches, so other partial sums of the same terms.
      assertThat(model.evaluate(corpus()).get("loss"))
          .isCloseTo(result.validation().get("loss"), within(1e-9));
      filled = model.fillMask(text, 3);
      assertThat(filled).hasSize(2);
      assertThat(THINGS).contains(filled.get(0).get(0).name());
      assertThat(filled.get(0)).hasSize(3);
      assertThat(filled.get(0).get(0).probability())
          .isGreaterThanOrEqualTo(filled.get(0).get(1).probability());
      assertThatThrownBy(() -> model.fillMask("no mask here", 3))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("write [MASK] where a word is wanted");
      model.savePretrained(saved);
    }
    try (BertForMaskedLM model = BertForMaskedLM.fromPretrained(saved, Fixtures.small())) {
      assertThat(model.fillMask(text, 3)).isEqualTo(filled);
    }
  }

  @Test
  void nextSentences_haveTheirOwnLoss() {
    Path saved = folder.resolve("pretraining");
    Map<String, Double> metrics;
    try (BertForPreTraining model =
        BertForPreTraining.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      FitResult result = model.fit(corpus(), corpus(), Fixtures.options(10).build());
      metrics = result.validation();
      assertThat(metrics.get("loss"))
          .isCloseTo(
              metrics.get("masked_lm_loss") + metrics.get("next_sentence_loss"), within(1e-12));
      assertThat(metrics.get("next_sentence_loss")).isBetween(0.3, 1.2);
      assertThat(metrics.get("perplexity")).isEqualTo(Math.exp(metrics.get("masked_lm_loss")));
      model.savePretrained(saved);
    }
    try (BertForPreTraining model = BertForPreTraining.fromPretrained(saved, Fixtures.small())) {
      assertThat(model.evaluate(corpus())).isEqualTo(metrics);
    }
    try (BertModel model = BertModel.fromPretrained(saved, Fixtures.small())) {
      float[][] states = model.hiddenStates("the film");
      assertThat(states).hasDimensions(tokenizer.encode("the film").length, 32);
      float[] mean = model.embed("the film");
      for (int c = 0; c < mean.length; c++) {
        double sum = 0;
        for (float[] state : states) {
          sum += state[c];
        }
        assertThat((double) mean[c]).isCloseTo(sum / states.length, within(1e-6));
      }
    }
  }
}
