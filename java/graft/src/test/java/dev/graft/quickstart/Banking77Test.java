package dev.graft.quickstart;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import dev.graft.quickstart.Banking77.FewLabels;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The split that every figure of the quickstart rests on. */
class Banking77Test {
  @TempDir static Path folder;
  private static Banking77 data;

  @BeforeAll
  static void load() {
    data = Banking77.load(folder);
  }

  private static Set<String> keys(List<LabelledExample> examples) {
    return examples.stream().map(Banking77::key).collect(Collectors.toSet());
  }

  private static Map<String, Long> counts(List<LabelledExample> examples) {
    return examples.stream()
        .collect(Collectors.groupingBy(LabelledExample::label, Collectors.counting()));
  }

  @Test
  void theWholeSet_asPublished() {
    assertThat(data.test()).hasSize(3_080);
    assertThat(counts(data.test())).hasSize(77).allSatisfy((l, n) -> assertThat(n).isEqualTo(40));
    // 10,003 rows as published; a few stand there twice or in the test set, too.
    assertThat(data.train()).hasSizeBetween(9_980, 10_002);
    assertThat(data.labels()).hasSize(77).isSorted().contains("card_arrival", "age_limit");
    assertThat(data.train()).allSatisfy(e -> assertThat(e.text()).doesNotContain("\n", "  "));
  }

  @Test
  void noTestQuestion_isTrainedOn() {
    assertThat(keys(data.train())).doesNotContainAnyElementsOf(keys(data.test()));
    assertThat(keys(data.train())).hasSize(data.train().size());
  }

  @Test
  void fewLabels_areBalancedAndApart() {
    FewLabels few = data.fewLabels(10, 5, 1);
    assertThat(counts(few.train())).hasSize(77).allSatisfy((l, n) -> assertThat(n).isEqualTo(10));
    assertThat(counts(few.validation()))
        .hasSize(77)
        .allSatisfy((l, n) -> assertThat(n).isEqualTo(5));
    Set<String> all = new HashSet<>(keys(few.train()));
    all.addAll(keys(few.validation()));
    assertThat(all).hasSize(77 * 15).isSubsetOf(keys(data.train()));
  }

  @Test
  void fewLabels_areAFunctionOfTheSeed() {
    assertThat(data.fewLabels(10, 5, 7)).isEqualTo(data.fewLabels(10, 5, 7));
    assertThat(data.fewLabels(10, 5, 8).train()).isNotEqualTo(data.fewLabels(10, 5, 7).train());
  }

  @Test
  void moreThanThereAre_isRefused() {
    assertThatThrownBy(() -> data.fewLabels(30, 30, 1))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("fewer than 30 to train on and 30 to judge by");
  }
}
