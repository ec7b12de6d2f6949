package dev.graft.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Numbers of scikit-learn, scipy, seqeval, rouge-score and of the evaluation scripts of SQuAD and
 * CMRC 2018, made by bench/peers/metrics.py.
 */
class MetricsReferenceTest {
  private static final double ROUNDING = 1e-12;
  private static final JsonNode REFERENCE = read();

  private static JsonNode read() {
    try (InputStream in =
        MetricsReferenceTest.class.getResourceAsStream("/metrics/reference.json")) {
      return new ObjectMapper().readTree(in);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Stream<JsonNode> cases(String name) {
    JsonNode cases = REFERENCE.path(name);
    assertThat(cases.size()).isPositive();
    return StreamSupport.stream(cases.spliterator(), false);
  }

  static Stream<JsonNode> correlations() {
    return cases("correlations");
  }

  static Stream<JsonNode> multiLabel() {
    return cases("multi_label");
  }

  static Stream<JsonNode> entities() {
    return cases("entities");
  }

  static Stream<JsonNode> rouge() {
    return cases("rouge");
  }

  static Stream<JsonNode> answers() {
    return cases("answers");
  }

  private static List<String> texts(JsonNode array) {
    List<String> texts = new ArrayList<>();
    array.forEach(text -> texts.add(text.asText()));
    return texts;
  }

  private static void holds(JsonNode expected, String name, double actual) {
    assertThat(expected.path(name).isNumber()).as(name).isTrue();
    double value = expected.path(name).asDouble();
    assertThat(actual).as(name).isCloseTo(value, within(ROUNDING * Math.max(1, Math.abs(value))));
  }

  private static void allHold(JsonNode expected, Map<String, Double> actual) {
    actual.forEach((name, value) -> holds(expected, name, value));
  }

  @ParameterizedTest
  @MethodSource("correlations")
  void correlation(JsonNode expected) {
    RegressionMetrics metrics = new RegressionMetrics();
    for (int i = 0; i < expected.path("x").size(); i++) {
      metrics.add(expected.path("x").path(i).asDouble(), expected.path("y").path(i).asDouble());
    }
    assertThat(metrics.count()).isEqualTo(expected.path("x").size());
    assertThat(metrics.toMap()).hasSize(4);
    // Offsets of 1e8 leave half of a double's digits to the deviations.
    double tolerance = expected.path("name").asText().equals("far") ? 1e-7 : ROUNDING;
    assertThat(metrics.pearson()).isCloseTo(expected.path("pearson").asDouble(), within(tolerance));
    holds(expected, "spearman", metrics.spearman());
    holds(expected, "mse", metrics.meanSquaredError());
    holds(expected, "mae", metrics.meanAbsoluteError());
  }

  @Test
  void correlationOfNothing() {
    for (double[] x : new double[][] {{}, {1}, {2, 2, 2}, {0.1, 0.1, 0.1}, {1, Double.NaN, 3}}) {
      double[] y = new double[x.length];
      for (int i = 0; i < y.length; i++) {
        y[i] = i;
      }
      assertThat(PearsonCorrelation.of(x, y)).isNaN();
      assertThat(PearsonCorrelation.of(y, x)).isNaN();
      assertThat(SpearmanCorrelation.of(x, y)).isNaN();
      assertThat(SpearmanCorrelation.of(y, x)).isNaN();
    }
    assertThatThrownBy(() -> PearsonCorrelation.of(new double[2], new double[3]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected as many numbers on both sides, got 2 and 3");
  }

  @ParameterizedTest
  @MethodSource("multiLabel")
  void multiLabel(JsonNode expected) {
    MultiLabelMetrics metrics = new MultiLabelMetrics(expected.path("truth").path(0).size());
    for (int i = 0; i < expected.path("truth").size(); i++) {
      metrics.add(flags(expected.path("truth").path(i)), flags(expected.path("answer").path(i)));
    }
    assertThat(metrics.toMap()).hasSize(4);
    allHold(expected, metrics.toMap());
  }

  private static boolean[] flags(JsonNode row) {
    boolean[] flags = new boolean[row.size()];
    for (int i = 0; i < flags.length; i++) {
      flags[i] = row.path(i).asInt() == 1;
    }
    return flags;
  }

  @Test
  void multiLabelRefusals() {
    assertThatThrownBy(() -> new MultiLabelMetrics(3).add(new boolean[3], new boolean[2]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected 3 labels, got 3 and 2");
    assertThatThrownBy(() -> new MultiLabelMetrics(0)).isInstanceOf(IllegalArgumentException.class);
    assertThat(new MultiLabelMetrics(2).samplesF1()).isNaN();
  }

  @ParameterizedTest
  @MethodSource("entities")
  void entities(JsonNode expected) {
    EntityMetrics metrics =
        new EntityMetrics(EntityScheme.valueOf(expected.path("scheme").asText()));
    for (int i = 0; i < expected.path("truth").size(); i++) {
      metrics.add(texts(expected.path("truth").path(i)), texts(expected.path("answer").path(i)));
    }
    assertThat(metrics.toMap()).hasSize(5);
    allHold(expected, metrics.toMap());
  }

  @Test
  void entityRefusals() {
    EntityMetrics metrics = new EntityMetrics(EntityScheme.STRICT_IOB2);
    assertThatThrownBy(() -> metrics.add(List.of("O", "O"), List.of("O")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected 2 tags, one a word, got 1");
    for (String tag : List.of("", "X-PER", "BPER", "O-PER", "b-PER")) {
      assertThatThrownBy(() -> metrics.add(List.of(tag), List.of("O")))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("expected a tag such as B-PER, I-PER or O, got '" + tag + "'");
    }
    assertThatThrownBy(() -> metrics.add(List.of("S-PER"), List.of("O")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected the prefixes B, I and O of IOB2, got the tag S-PER");
  }

  @ParameterizedTest
  @MethodSource("rouge")
  void rouge(JsonNode expected) {
    String text = expected.path("text").asText();
    List<String> references = texts(expected.path("references"));
    scores(expected.path("rouge1"), Rouge.ofWords(1, text, references.get(0)));
    scores(expected.path("rouge2"), Rouge.ofWords(2, text, references.get(0)));
    scores(expected.path("rougeL"), Rouge.ofSubsequence(text, references.get(0)));
    Rouge rouge = new Rouge();
    rouge.add(text, references);
    assertThat(rouge.toMap()).hasSize(3);
    allHold(expected.path("best"), rouge.toMap());
  }

  private static void scores(JsonNode expected, Rouge.Score score) {
    assertThat(score.precision()).isCloseTo(expected.path(0).asDouble(), within(ROUNDING));
    assertThat(score.recall()).isCloseTo(expected.path(1).asDouble(), within(ROUNDING));
    assertThat(score.f1()).isCloseTo(expected.path(2).asDouble(), within(ROUNDING));
  }

  @Test
  void wordsOfRouge() {
    assertThat(Rouge.words("Ein Café, über 2 naïve Ⅷ 東京タワー!"))
        .containsExactly("ein", "café", "über", "2", "naïve", "東", "京", "タ", "ワ", "ー");
    assertThatThrownBy(() -> new Rouge().add("text", List.of()))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @ParameterizedTest
  @MethodSource("answers")
  void answers(JsonNode expected) {
    AnswerMetrics metrics = new AnswerMetrics(AnswerRules.valueOf(expected.path("rules").asText()));
    metrics.add(texts(expected.path("truths")), expected.path("answer").asText());
    holds(expected, "exact_match", metrics.exactMatch());
    holds(expected, "f1", metrics.f1());
  }

  @Test
  void questionsWithoutAnswer() {
    JsonNode expected = REFERENCE.path("squad_v2");
    AnswerMetrics metrics = new AnswerMetrics(AnswerRules.SQUAD_V2);
    for (JsonNode question : expected.path("cases")) {
      metrics.add(texts(question.path("truths")), question.path("answer").asText());
    }
    holds(expected, "exact_match", metrics.exactMatch());
    holds(expected, "f1", metrics.f1());
    assertThat(metrics.toMap())
        .containsKeys("no_answer_accuracy", "has_answer_exact_match", "has_answer_f1");
  }
}
