package dev.graft.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.graft.apply.BeamOptions.Ending;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Decoder;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.program.Ops.Sampling;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Oracle: transformers' generate on the same tiny random GPT-2, by
 * bench/peers/make_generation_fixtures.py; and the answers onnxruntime's own test expects of it.
 */
class BeamSearchTest {
  private static Device device;
  private static Network network;
  private static JsonNode expected;
  private static JsonNode published;

  @BeforeAll
  static void open() throws IOException, URISyntaxException {
    Path model =
        Path.of(BeamSearchTest.class.getResource("/models/hf-tiny-random-gpt2/config.json").toURI())
            .getParent();
    device = Device.cpu(1);
    network = Network.load(device, model, Task.CAUSAL_LM, DType.FLOAT32, null, 0);
    expected = read("/apply/generation.json");
    published = read("/models/hf-tiny-random-gpt2/expected.json");
  }

  private static JsonNode read(String resource) throws IOException {
    try (InputStream in = BeamSearchTest.class.getResourceAsStream(resource)) {
      return new ObjectMapper().readTree(in);
    }
  }

  @AfterAll
  static void close() {
    network.close();
    device.close();
  }

  private static int[] ids(JsonNode array) {
    int[] ids = new int[array.size()];
    Arrays.setAll(ids, i -> array.path(i).asInt());
    return ids;
  }

  private static int[][] prompts() {
    int[][] prompts = new int[expected.path("prompts").size()][];
    Arrays.setAll(prompts, p -> ids(expected.path("prompts").path(p)));
    return prompts;
  }

  private static Ending ending(JsonNode early) {
    return early.isTextual()
        ? Ending.IMPOSSIBLE
        : early.asBoolean() ? Ending.FULL : Ending.UNLIKELY;
  }

  /** All prompts side by side, of different lengths, against each alone there. */
  @Test
  void equalsTheReference() {
    int ended = 0;
    for (JsonNode one : expected.path("beam_search")) {
      BeamSearch search =
          new BeamSearch(
              network,
              new BeamOptions(
                  one.path("beams").asInt(),
                  one.path("length_penalty").asDouble(),
                  ending(one.path("early_stopping"))),
              expected.path("max_new_tokens").asInt(),
              one.path("repetition_penalty").asDouble(),
              one.path("eos").asInt(),
              tokens -> false);
      List<BeamSearch.Hypothesis> found = search.search(prompts());
      for (int p = 0; p < found.size(); p++) {
        JsonNode answer = one.path("answers").path(p);
        assertThat(found.get(p).tokens()).as("%s", one).isEqualTo(ids(answer.path("tokens")));
        // Sums of fp32 logarithms there, of double ones here.
        double score = answer.path("score").asDouble();
        assertThat(found.get(p).score()).isCloseTo(score, within(2e-5 * Math.abs(score)));
        ended += found.get(p).tokens().length < expected.path("max_new_tokens").asInt() ? 1 : 0;
      }
    }
    assertThat(ended).isGreaterThan(20);
  }

  @Test
  void equalsOnnxruntimesTest() {
    JsonNode beams = published.path("beam_search");
    int[][] prompts = new int[3][];
    Arrays.setAll(prompts, p -> ids(published.path("input_ids").path(p)));
    BeamSearch search = new BeamSearch(network, BeamOptions.of(4), 8, 1, 98, tokens -> false);
    List<BeamSearch.Hypothesis> found = search.search(prompts);
    for (int p = 0; p < 3; p++) {
      int[] whole = ids(beams.path("sequences").path(p));
      assertThat(found.get(p).tokens()).isEqualTo(Arrays.copyOfRange(whole, 12, 20));
    }
  }

  @Test
  void stopsEndAText() {
    BeamSearch search =
        new BeamSearch(
            network,
            new BeamOptions(4, 1, Ending.FULL),
            9,
            1,
            -1,
            tokens -> tokens.length >= 2 && tokens[tokens.length - 1] == 292);
    int[] tokens = search.search(new int[][] {prompts()[1]}).get(0).tokens();
    assertThat(tokens).hasSizeBetween(2, 8).endsWith(292);
  }

  /** Greedy writing with a repetition penalty, by the decoder's own kernel. */
  @Test
  void greedyWithRepetitionPenalty_equalsTheReference() {
    for (JsonNode one : expected.path("greedy")) {
      float penalty = (float) one.path("repetition_penalty").asDouble();
      List<Integer> written = new ArrayList<>();
      try (Decoder decoder = new Decoder(network, 1, new Sampling(0, 0, 1, penalty, 0), 0)) {
        int[] next = decoder.prefill(new int[][] {ids(one.path("prompt"))});
        while (written.size() < expected.path("max_new_tokens").asInt()) {
          written.add(next[0]);
          next = decoder.step(new int[] {next[0]});
        }
      }
      assertThat(written.stream().mapToInt(i -> i).toArray())
          .as("%s", one)
          .isEqualTo(ids(one.path("tokens")));
    }
  }

  @Test
  void optionsThatCannotBe() {
    assertThatThrownBy(() -> new BeamOptions(1, 1, Ending.FULL))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new BeamOptions(2, Double.NaN, Ending.FULL))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> GenerationOptions.defaults().withBeams(BeamOptions.of(2)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("they do not draw");
    assertThatThrownBy(
            () -> new BeamSearch(network, BeamOptions.of(501), 5, 1, -1, tokens -> false))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("beams: expected at most half of the vocabulary of 1000, got 501");
  }
}
