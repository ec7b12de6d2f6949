package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizersTest {
  private static final Path TINY = Fixtures.model("tribuo-tinybert");

  @TempDir Path folder;

  /** Oracle: expected.json, by the reference implementation. */
  @Test
  void bertTokenizer_givesPublishedIds() {
    ObjectNode expected = Json.readObject(TINY.resolve("expected.json"));
    try (BertTokenizer tokenizer = BertTokenizer.fromPretrained(TINY)) {
      int[] ids = tokenizer.encode(expected.path("text").asText());
      assertThat(ids).isEqualTo(ints(expected.path("input_ids")));
      assertThat(tokenizer.token(ids[0])).isEqualTo("[CLS]");
      tokenizer.savePretrained(folder);
    }
    try (BertTokenizer tokenizer = BertTokenizer.fromPretrained(folder)) {
      assertThat(tokenizer.encode(expected.path("text").asText()))
          .isEqualTo(ints(expected.path("input_ids")));
    }
  }

  /** As bert-base-uncased was published: which model it is shows in its fields alone. */
  @Test
  void tokenizerWithoutAModelType_isKnownByItsFields() {
    ObjectNode definition = Json.readObject(TINY.resolve("tokenizer.json"));
    ObjectNode model = (ObjectNode) definition.get("model");
    model.put("max_input_chars_per_word", 100).remove("type");
    Fixtures.write(folder.resolve("tokenizer.json"), Json.pretty(definition));
    ObjectNode expected = Json.readObject(TINY.resolve("expected.json"));
    try (BertTokenizer tokenizer = BertTokenizer.fromPretrained(folder)) {
      assertThat(tokenizer.encode(expected.path("text").asText()))
          .isEqualTo(ints(expected.path("input_ids")));
    }
  }

  /**
   * Oracle: expected.json, the last hidden states by two other implementations, which agree within
   * 1e-6. Tolerance: 1e-5.
   */
  @Test
  void bertModel_givesPublishedHiddenStates() {
    ObjectNode expected = Json.readObject(TINY.resolve("expected.json"));
    try (BertModel model = BertModel.fromPretrained(TINY)) {
      float[][] states = model.hiddenStates(expected.path("text").asText());
      JsonNode rows = expected.path("last_hidden_state");
      assertThat(states).hasDimensions(rows.size(), rows.get(0).size());
      for (int t = 0; t < rows.size(); t++) {
        for (int c = 0; c < rows.get(t).size(); c++) {
          assertThat(states[t][c]).isCloseTo((float) rows.get(t).get(c).asDouble(), within(1e-5f));
        }
      }
    }
  }

  private static int[] ints(JsonNode values) {
    int[] out = new int[values.size()];
    for (int i = 0; i < out.length; i++) {
      out[i] = values.get(i).asInt();
    }
    return out;
  }

  @Test
  void gpt2Tokenizer_roundTripsAnyText() {
    String text = "the film — 電影 🎬\n\tnaïve  spaces ";
    try (GPT2Tokenizer tokenizer = GPT2Tokenizer.train(List.of(Fixtures.text(folder, 50)), 300)) {
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
      assertThat(tokenizer.vocabSize()).isBetween(258, 300);
      tokenizer.savePretrained(folder.resolve("gpt2"));
    }
    assertThatThrownBy(() -> BertTokenizer.fromPretrained(folder.resolve("gpt2")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("expected BERT's WordPiece")
        .hasMessageContaining("'gpt2'");
    assertThatThrownBy(() -> GPT2Tokenizer.fromPretrained(TINY.toString()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("expected GPT-2's byte-level BPE");
  }
}
