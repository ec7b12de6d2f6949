package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class LabelledSourceTest {
  private static final Path SETTINGS = Path.of("settings.json");

  @Test
  void settingsKeepFilesAndQueries() {
    Path file = Path.of("/data/a.csv");
    for (LabelledSource source :
        new LabelledSource[] {
          LabelledSource.of(file),
          LabelledSource.of("SELECT 'ä'", null),
          LabelledSource.of("SELECT 1", file)
        }) {
      assertThat(LabelledSource.fromJson(SETTINGS, "train", source.toJson())).isEqualTo(source);
    }
    JsonNode relative = LabelledSource.of(Path.of("a.csv")).toJson();
    assertThat(relative.asText()).isEqualTo(Path.of("a.csv").toAbsolutePath().toString());
    assertThatThrownBy(() -> LabelledSource.fromJson(SETTINGS, "train", Json.object()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("settings.json: train: expected a file or a query, got {}");
    assertThatThrownBy(() -> new LabelledSource(file, "SELECT 1", null))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new LabelledSource(file, null, file))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
