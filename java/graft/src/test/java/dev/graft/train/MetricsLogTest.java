package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MetricsLogTest {
  @TempDir Path folder;

  private static StepEvent step(long step, double loss) {
    return new StepEvent(step, 100, 0.5, loss, 1.5, 1e-3, 640, 1000, 2, 3, 0);
  }

  private static void write(Path file, long from, long... steps) {
    try (MetricsLog log = MetricsLog.open(file, from)) {
      for (long step : steps) {
        log.train(step(step, 1.0 / step));
      }
    }
  }

  @Test
  void resume_cutsWhatIsBehindItsStepAndAHalfLine() throws IOException {
    Path file = folder.resolve("metrics.jsonl");
    write(file, 0, 10, 20, 30);
    String whole = Files.readString(file);
    Files.writeString(file, "{\"type\":\"train\",\"st", StandardOpenOption.APPEND);
    write(file, 20);
    assertThat(Files.readString(file))
        .isEqualTo(whole.substring(0, whole.indexOf("{", whole.indexOf("\"step\":20"))));
    write(file, 20, 30);
    assertThat(Files.readString(file)).isEqualTo(whole);
  }

  @Test
  void aNewRun_beginsEmpty() throws IOException {
    Path file = folder.resolve("metrics.jsonl");
    write(file, 0, 10, 20);
    write(file, 0, 5);
    assertThat(Files.readAllLines(file)).hasSize(1);
  }

  @Test
  void nonFiniteNumbers_areNullForJsonKnowsNone() throws IOException {
    Path file = folder.resolve("metrics.jsonl");
    try (MetricsLog log = MetricsLog.open(file, 0)) {
      log.train(step(1, Double.NaN));
      log.evaluation(new EvalEvent(1, Map.of("accuracy", Double.NaN), "accuracy", false));
    }
    assertThat(Files.readAllLines(file).get(0)).contains("\"loss\":null");
    assertThat(Files.readAllLines(file).get(1)).contains("\"accuracy\":null", "\"type\":\"eval\"");
  }
}
