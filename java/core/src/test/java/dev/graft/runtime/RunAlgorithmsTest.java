package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which way a run's products go, and that a resume goes it again. */
class RunAlgorithmsTest {
  private static final FusionChoice FUSED = FusionChoice.of(10, 20);
  private static final FusionChoice SEPARATE = FusionChoice.of(20, 10);

  @TempDir Path folder;

  private static Supplier<FusionChoice> never() {
    return () -> {
      throw new AssertionError("measured though it was known");
    };
  }

  @Test
  void measuredOnce_thenRemembered() {
    Path file = folder.resolve("cublaslt.txt");
    RunAlgorithms first = new RunAlgorithms(new AlgorithmCache(file));
    assertThat(first.choose("a", () -> FUSED)).isTrue();
    assertThat(first.choose("b", () -> SEPARATE)).isFalse();
    assertThat(first.choose("a", never())).isTrue();
    RunAlgorithms later = new RunAlgorithms(new AlgorithmCache(file));
    assertThat(later.taken()).isEmpty();
    assertThat(later.choose("a", never())).isTrue();
    assertThat(later.choose("b", never())).isFalse();
  }

  /**
   * Another device, or the same with its file deleted and timed anew, may have chosen otherwise.
   */
  @Test
  void resume_goesTheRunsWay_notTheDevices() {
    RunAlgorithms run = new RunAlgorithms(new AlgorithmCache(null));
    run.choose("a", () -> FUSED);
    run.choose("b", () -> SEPARATE);
    Map<String, String> checkpoint = run.taken();
    assertThat(checkpoint).containsEntry("a", "fused 10.0 20.0").hasSize(2);

    RunAlgorithms resumed = new RunAlgorithms(new AlgorithmCache(null));
    resumed.require(checkpoint);
    assertThat(resumed.choose("a", () -> SEPARATE)).isTrue();
    assertThat(resumed.choose("b", () -> FUSED)).isFalse();
    assertThat(resumed.choose("another bucket", () -> FUSED)).isTrue();
    assertThat(resumed.taken()).containsAllEntriesOf(checkpoint).hasSize(3);
  }

  @Test
  void whatCouldNotBeMeasured_staysSeparate_butIsNotRemembered() {
    Path file = folder.resolve("cublaslt.txt");
    RunAlgorithms run = new RunAlgorithms(new AlgorithmCache(file));
    AtomicInteger asked = new AtomicInteger();
    for (int i = 0; i < 2; i++) {
      assertThat(
              run.choose(
                  "a",
                  () -> {
                    asked.incrementAndGet();
                    return null;
                  }))
          .isFalse();
    }
    assertThat(asked).hasValue(1);
    assertThat(run.taken()).containsEntry("a", "separate 0.0 0.0");
    assertThat(new AlgorithmCache(file).choice("a")).isNull();
  }

  /** Where there was no memory to time in, the next process times. */
  @Test
  void anAlgorithmThatWasNotTimed_staysWithItsProcess() {
    Path file = folder.resolve("cublaslt.txt");
    RunAlgorithms run = new RunAlgorithms(new AlgorithmCache(file));
    AlgorithmCache.Algorithm timed = algorithm(12.5);
    AlgorithmCache.Algorithm favourite = algorithm(0);
    run.remember("timed", timed);
    run.remember("favourite", favourite);
    assertThat(run.remembered("timed")).isSameAs(timed);
    assertThat(run.required("favourite")).isSameAs(favourite);
    AlgorithmCache next = new AlgorithmCache(file);
    assertThat(next.get("timed")).isNotNull();
    assertThat(next.get("favourite")).isNull();
  }

  private static AlgorithmCache.Algorithm algorithm(double microseconds) {
    return new AlgorithmCache.Algorithm(new long[AlgorithmCache.WORDS], 0, microseconds);
  }

  @Test
  void whatCannotBeRead_isRefused() {
    RunAlgorithms run = new RunAlgorithms(new AlgorithmCache(null));
    assertThatThrownBy(() -> run.require(Map.of("a", "fused 1")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("choice: cannot be fused 1");
  }
}
