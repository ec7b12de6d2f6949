package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HubSettingsTest {
  @TempDir Path home;

  private HubSettings of(String... variables) {
    Map<String, String> map = new java.util.HashMap<>();
    for (int i = 0; i < variables.length; i += 2) {
      map.put(variables[i], variables[i + 1]);
    }
    return HubSettings.of(map::get, home);
  }

  @Test
  void defaults() {
    HubSettings settings = of("HF_HOME", " ", "HF_TOKEN", "");
    assertThat(settings.endpoint()).hasToString("https://huggingface.co");
    assertThat(settings.cache()).isEqualTo(home.resolve(".cache/huggingface/hub"));
    assertThat(settings.offline()).isFalse();
    assertThat(settings.token()).isNull();
    assertThat(settings.progress()).isTrue();
    assertThat(settings.symlinks()).isTrue();
  }

  @Test
  void cache_byTheMostSpecificVariable() {
    assertThat(of("XDG_CACHE_HOME", "/x").cache()).hasToString("/x/huggingface/hub");
    assertThat(of("XDG_CACHE_HOME", "/x", "HF_HOME", "/h").cache()).hasToString("/h/hub");
    assertThat(of("HF_HOME", "/h", "HUGGINGFACE_HUB_CACHE", "/o").cache()).hasToString("/o");
    assertThat(of("HUGGINGFACE_HUB_CACHE", "/o", "HF_HUB_CACHE", "/c").cache()).hasToString("/c");
    assertThat(of("HF_HOME", "~/h").cache()).isEqualTo(home.resolve("h/hub"));
    assertThat(of("HF_HUB_CACHE", "~").cache()).isEqualTo(home);
    assertThatThrownBy(() -> of("HF_HOME", "a\0b"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith("HF_HOME: not a path");
  }

  @Test
  void switches() {
    for (String yes : new String[] {"1", "true", "TRUE", "on", "Yes"}) {
      assertThat(of("HF_HUB_OFFLINE", yes).offline()).as(yes).isTrue();
      assertThat(of("TRANSFORMERS_OFFLINE", yes).offline()).isTrue();
      assertThat(of("HF_HUB_DISABLE_PROGRESS_BARS", yes).progress()).isFalse();
      assertThat(of("HF_HUB_DISABLE_SYMLINKS", yes).symlinks()).isFalse();
    }
    for (String no : new String[] {"0", "false", "off", "no", "2"}) {
      assertThat(of("HF_HUB_OFFLINE", no).offline()).as(no).isFalse();
    }
    assertThat(of("HF_HUB_DOWNLOAD_TIMEOUT", "7").timeout()).isEqualTo(Duration.ofSeconds(7));
    for (String bad : new String[] {"0", "-1", "x", "1.5", "99999999"}) {
      assertThatThrownBy(() -> of("HF_HUB_DOWNLOAD_TIMEOUT", bad))
          .isInstanceOf(InvalidInputException.class)
          .hasMessage("HF_HUB_DOWNLOAD_TIMEOUT: expected seconds, got " + bad);
    }
  }

  @Test
  void endpoint_withoutSlashes_withItsPath() {
    assertThat(of("HF_ENDPOINT", "https://hub.example//").endpoint())
        .hasToString("https://hub.example");
    assertThat(of("HF_ENDPOINT", "http://a.example:81/api/hf/").endpoint())
        .hasToString("http://a.example:81/api/hf");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hub.example",
        "ftp://a",
        "file:///etc",
        "https://",
        "https://u:pass@a",
        "https://a?x=pass",
        "https://a#x",
        "not an address",
        "https://a b",
        "/"
      })
  void endpoint_refused_withoutRepeatingIt(String endpoint) {
    assertThatThrownBy(() -> of("HF_ENDPOINT", endpoint))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith("HF_ENDPOINT: expected an address such as https://huggingface.co")
        .message()
        .doesNotContain("pass");
  }

  @Test
  void token_byVariable_elseByFile() throws IOException {
    Path file = home.resolve(".cache/huggingface/token");
    Files.createDirectories(file.getParent());
    Files.writeString(file, "hf_file\n");
    assertThat(of().token()).isEqualTo("hf_file");
    assertThat(of("HF_TOKEN", " hf_variable\n").token()).isEqualTo("hf_variable");
    assertThat(of("HUGGING_FACE_HUB_TOKEN", "hf_old").token()).isEqualTo("hf_old");
    assertThat(of("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", "HF_TOKEN", "a").token()).isNull();
    Path other = Files.writeString(home.resolve("t"), "hf_other");
    assertThat(of("HF_TOKEN_PATH", other.toString()).token()).isEqualTo("hf_other");
    Files.writeString(other, "");
    assertThat(of("HF_TOKEN_PATH", other.toString()).token()).isNull();
    assertThat(of("HF_TOKEN", "hf_secret")).asString().doesNotContain("hf_secret");
    assertThatThrownBy(() -> of("HF_TOKEN", "hf\r\nHost: evil"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("HF_TOKEN: holds a character that no token has");
  }
}
