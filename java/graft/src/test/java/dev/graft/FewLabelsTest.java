package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.FewLabels.Beginning;
import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import dev.graft.train.CancellationToken;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FewLabelsTest {
  @TempDir Path folder;
  private Path model;

  /** A network that has read the language of the reviews, and what tells them apart. */
  @BeforeEach
  void model() {
    model = folder.resolve("model");
    try (BertTokenizer tokenizer = Fixtures.bertTokenizer(folder);
        BertForSequenceClassification classifier =
            BertForSequenceClassification.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      classifier.fit(Fixtures.reviews(120, 3), null, Fixtures.options(60).build());
      classifier.savePretrained(model);
    }
  }

  private FewLabels few() {
    return FewLabels.of(model, Fixtures.reviews(60, 1), Fixtures.reviews(40, 2))
        .perClass(2, 6)
        .seeds(2)
        .learningRates(1e-4, 3e-4)
        .options(Fixtures.small())
        .training(Fixtures.options(8).build());
  }

  @Test
  void everyFit_isMade_andPretrainingHelps() {
    List<FewLabels.Trial> trials = new ArrayList<>();
    FewLabelsResult result = few().run(trials::add);
    assertThat(trials).hasSize(2 * 2 * 2 * 2);
    assertThat(result.cancelled()).isFalse();
    assertThat(result.rows()).extracting(FewLabelsResult.Row::perClass).containsExactly(2, 6);
    for (FewLabelsResult.Row row : result.rows()) {
      for (Beginning beginning : Beginning.values()) {
        List<FewLabelsResult.Run> runs =
            beginning == Beginning.PRETRAINED ? row.pretrained() : row.fresh();
        assertThat(runs).extracting(FewLabelsResult.Run::seed).containsExactly(1, 2);
        for (FewLabelsResult.Run run : runs) {
          double best =
              trials.stream()
                  .filter(t -> t.perClass() == row.perClass() && t.seed() == run.seed())
                  .filter(t -> t.beginning() == beginning)
                  .mapToDouble(FewLabels.Trial::accuracy)
                  .max()
                  .getAsDouble();
          assertThat(run.validation()).isEqualTo(best);
        }
      }
      // Eight steps teach a fresh network nothing; the other had learnt the task before.
      assertThat(row.gain()).isGreaterThan(0.2);
    }
    assertThat(few().run(trial -> {}).toJson()).isEqualTo(result.toJson());
    assertThat(result.table()).contains("labels/class", "pretrained", "from scratch");
  }

  @Test
  void meanAndDeviation_areThoseOfTheSample() {
    List<FewLabelsResult.Run> runs =
        List.of(
            new FewLabelsResult.Run(1, 1e-4, 0, 0.5),
            new FewLabelsResult.Run(2, 1e-4, 0, 0.7),
            new FewLabelsResult.Run(3, 1e-4, 0, 0.9));
    assertThat(FewLabelsResult.mean(runs)).isCloseTo(0.7, within(1e-12));
    assertThat(FewLabelsResult.deviation(runs)).isCloseTo(0.2, within(1e-12));
    assertThat(FewLabelsResult.deviation(runs.subList(0, 1))).isZero();
  }

  @Test
  void draws_areBalancedApartAndAFunctionOfTheSeed() {
    List<LabelledExample> examples = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      examples.add(new LabelledExample("text " + i, i % 4 == 0 ? "rare" : "common"));
    }
    Dataset all = Dataset.of(examples);
    Dataset.Split drawn = all.perClass(4, 3, 7);
    for (String label : List.of("rare", "common")) {
      assertThat(drawn.train().examples()).filteredOn(e -> e.label().equals(label)).hasSize(4);
      assertThat(drawn.validation().examples()).filteredOn(e -> e.label().equals(label)).hasSize(3);
    }
    Set<LabelledExample> seen = new HashSet<>(drawn.train().examples());
    seen.addAll(drawn.validation().examples());
    assertThat(seen).hasSize(14);
    assertThat(all.perClass(4, 3, 7).train().examples()).isEqualTo(drawn.train().examples());
    assertThat(all.perClass(4, 3, 8).train().examples()).isNotEqualTo(drawn.train().examples());
    assertThatThrownBy(() -> all.perClass(8, 3, 7))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("rare has 10 examples, fewer than 8 to train on and 3 to judge by");
  }

  @Test
  void tooFewExamples_areNamedBeforeTheFirstFit() {
    List<FewLabels.Trial> trials = new ArrayList<>();
    assertThatThrownBy(() -> few().perClass(2, 500).run(trials::add))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("fewer than 500");
    assertThat(trials).isEmpty();
  }

  @Test
  void cancelled_keepsTheRowsThatAreWhole() {
    CancellationToken token = new CancellationToken();
    FewLabelsResult result =
        few()
            .training(Fixtures.options(8).cancellation(token).build())
            .run(
                trial -> {
                  if (trial.perClass() == 6) {
                    token.cancel();
                  }
                });
    assertThat(result.cancelled()).isTrue();
    assertThat(result.rows()).extracting(FewLabelsResult.Row::perClass).containsExactly(2);
  }
}
