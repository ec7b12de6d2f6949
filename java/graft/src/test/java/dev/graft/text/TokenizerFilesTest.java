package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerFilesTest {
  private static final String SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

  @TempDir Path directory;

  private AbstractThrowableAssert<?, ?> load() {
    return assertThatThrownBy(() -> Tokenizer.fromPretrained(directory))
        .isInstanceOf(InvalidInputException.class);
  }

  private void write(String name, String text) {
    TextFixtures.write(directory.resolve(name), text);
  }

  private ObjectNode definition() {
    return Json.readObject(TextFixtures.path("byte-level-bpe/tokenizer.json"));
  }

  private void define(ObjectNode definition) {
    write("tokenizer.json", Json.line(definition));
  }

  @Test
  void emptyDirectoryNamesWhatIsExpected() {
    load().hasMessageContaining("expected tokenizer.json, vocab.txt, or vocab.json and merges.txt");
  }

  @Test
  void vocabularyOfLines() {
    write("vocab.txt", SPECIAL + "a\na\n");
    load().hasMessage(directory.resolve("vocab.txt") + ": token 'a' stands twice");
    write("vocab.txt", "[PAD]\n[UNK]\n[SEP]\na\n");
    load().hasMessage(directory.resolve("vocab.txt") + ": the vocabulary lacks [CLS]");
    write("vocab.txt", "");
    load().hasMessageStartingWith(directory.resolve("vocab.txt") + ": ");
    write("vocab.txt", (SPECIAL + "a\n##b\n").replace("\n", "\r\n"));
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(7);
      assertThat(tokenizer.ids("AB a")).containsExactly(5, 6, 5);
    }
  }

  @Test
  void settingsOfTokenizerConfig() {
    write("vocab.txt", SPECIAL + "é\ne\nÉ\n中文\n中\n文\n");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      assertThat(tokenizer.ids("É é 中文")).containsExactly(6, 6, 9, 10);
    }
    write("tokenizer_config.json", "{\"do_lower_case\": false}");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      assertThat(tokenizer.ids("É é 中文")).containsExactly(7, 5, 9, 10);
    }
    write(
        "tokenizer_config.json",
        "{\"do_lower_case\": true, \"strip_accents\": false, \"tokenize_chinese_chars\": false}");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      assertThat(tokenizer.ids("É é 中文")).containsExactly(5, 5, 8);
      tokenizer.savePretrained(directory.resolve("saved"));
    }
    ObjectNode saved = Json.readObject(directory.resolve("saved/tokenizer_config.json"));
    assertThat(saved.path("strip_accents").asBoolean(true)).isFalse();
    assertThat(saved.path("tokenize_chinese_chars").asBoolean(true)).isFalse();
    assertThat(saved.path("do_lower_case").asBoolean(false)).isTrue();
  }

  @Test
  void mergesOfUnknownTokens() {
    write("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}");
    write("merges.txt", "#version: 0.2\na b\na c\n");
    load()
        .hasMessage(
            directory.resolve("merges.txt") + ": line 3: expected two tokens of the vocabulary");
    write("merges.txt", "a b\nab b\n");
    load().hasMessageStartingWith(directory.resolve("vocab.json") + ": not a usable tokenizer: ");
    write("vocab.json", "{\"a\": 0, \"b\": 7}");
    load().hasMessage(directory.resolve("vocab.json") + ": token b has the id 7");
  }

  @Test
  void idsThatCannotBe() {
    Path file = directory.resolve("tokenizer.json");
    ObjectNode json = definition();
    ObjectNode vocabulary = (ObjectNode) json.path("model").path("vocab");
    vocabulary.put("a", -1);
    define(json);
    load().hasMessage(file + ": token 'a' has the id -1");
    vocabulary.put("a", 1L << 40);
    define(json);
    load().hasMessage(file + ": token 'a' has the id 1099511627776");
    vocabulary.put("a", "0");
    define(json);
    load().hasMessage(file + ": token 'a' has the id \"0\"");
    vocabulary.put("a", 10);
    define(json);
    load().hasMessageMatching(".*: tokens '.+' and '.+' both have the id 10");
    json = definition();
    ((ObjectNode) json.path("added_tokens").get(0)).put("id", 5000);
    define(json);
    load().hasMessage(file + ": added token '<|endoftext|>' has the id 5000, which is not free");
    ((ObjectNode) json.path("added_tokens").get(0)).remove("id");
    define(json);
    load().hasMessageStartingWith(file + ": token '<|endoftext|>' has the id ");
  }

  @Test
  void brokenDefinitions() {
    Path file = directory.resolve("tokenizer.json");
    write("tokenizer.json", "{\"model\": {}}");
    load().hasMessage(file + ": there is no model.vocab");
    write("tokenizer.json", "[1]");
    load().hasMessage(file + ": expected a JSON object");
    write("tokenizer.json", "{} {}");
    load().hasMessageStartingWith(file + ": at byte 3: not valid JSON");
    write("tokenizer.json", "{\"model\": {\"vocab\": {\"\\uD800\": 0}}}");
    load().hasMessageStartingWith(file + ": not a usable tokenizer: ");
    ObjectNode json = definition();
    ((ObjectNode) json.path("model")).put("type", "Nonsense");
    define(json);
    load().hasMessageStartingWith(file + ": not a usable tokenizer: ");
  }

  /** The library ends the process where it meets one of these. */
  @Test
  void whatTheLibraryTakesForGranted() throws Exception {
    Path file = directory.resolve("tokenizer.json");
    write("vocab.txt", SPECIAL + "a\n");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      tokenizer.savePretrained(directory);
    }
    String right = Files.readString(file);
    for (String[] change :
        new String[][] {
          {"\"id\" : \"A\"", "\"id\" : \"B\"", "single names"},
          {"\"id\" : \"B\"", "\"id\" : \"C\"", "pair names"},
          {
            "\"id\" : \"[CLS]\",\n        \"type_id\"",
            "\"id\" : \"[X]\",\n        \"type_id\"",
            "single names"
          },
          {"\"ids\" : [ 2 ]", "\"ids\" : [ ]", "as many ids as tokens"}
        }) {
      String wrong = right.replaceFirst(java.util.regex.Pattern.quote(change[0]), change[1]);
      assertThat(wrong).isNotEqualTo(right);
      write("tokenizer.json", wrong);
      load().hasMessageStartingWith(file + ": post_processor: ").hasMessageContaining(change[2]);
    }
    ObjectNode json = definition();
    ((ObjectNode) json.get("model")).put("continuing_subword_prefix", "##");
    define(json);
    load().hasMessageContaining("does not continue with '##'");
  }

  @Test
  void nothingIsCutOrPaddedUnasked() {
    ObjectNode json = definition();
    json.putObject("truncation")
        .put("direction", "Right")
        .put("max_length", 3)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    ObjectNode padding = json.putObject("padding");
    padding.putObject("strategy").put("Fixed", 512);
    padding
        .put("direction", "Right")
        .putNull("pad_to_multiple_of")
        .put("pad_id", 0)
        .put("pad_type_id", 0)
        .put("pad_token", "!");
    define(json);
    try (Tokenizer cut = Tokenizer.fromPretrained(directory);
        Tokenizer whole = Tokenizer.fromPretrained(TextFixtures.path("byte-level-bpe"))) {
      String text = "To be, or not to be, that is the question";
      assertThat(cut.ids(text)).isEqualTo(whole.ids(text));
      assertThat(cut.encode(text, true).ids()).isEqualTo(whole.encode(text, true).ids());
    }
  }

  /** A word of the text that happens to be named like a special token is not one. */
  @Test
  void onlySpecialTokensEndATextOrBeginIt() {
    Path text = directory.resolve("html.txt");
    write("html.txt", "<s>old</s> ".repeat(50));
    try (Tokenizer tokenizer = CharTrainer.train(java.util.List.of(text), 0)) {
      assertThat(tokenizer.eosId()).isEqualTo(-1);
    }
    ObjectNode json = definition();
    ObjectNode vocabulary = (ObjectNode) json.path("model").path("vocab");
    ((ArrayNode) json.get("added_tokens")).removeAll();
    vocabulary.put("</s>", vocabulary.size());
    define(json);
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      assertThat(tokenizer.id("</s>")).isPositive();
      assertThat(tokenizer.eosId()).isEqualTo(-1);
    }
  }

  @Test
  void patternsThatReachOverLineEndsAreNotCut() {
    ObjectNode json = definition();
    assertThat(TokenizerFamily.isCuttable(json)).isTrue();
    ((ObjectNode) json.get("pre_tokenizer")).put("add_prefix_space", true);
    assertThat(TokenizerFamily.isCuttable(json)).isFalse();
    ((ObjectNode) json.get("pre_tokenizer")).put("add_prefix_space", false).put("use_regex", false);
    assertThat(TokenizerFamily.isCuttable(json)).isFalse();
    ((ObjectNode) json.get("pre_tokenizer")).put("use_regex", true);
    ((ObjectNode) json.path("added_tokens").get(0)).put("rstrip", true);
    assertThat(TokenizerFamily.isCuttable(json)).isFalse();
  }

  @Test
  void aVocabularyWithHolesHasNoLines() throws Exception {
    write("vocab.txt", SPECIAL + "a\n");
    Path saved = directory.resolve("saved");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      tokenizer.savePretrained(saved);
    }
    assertThat(saved.resolve("vocab.txt")).hasContent(SPECIAL + "a\n");
    ObjectNode json = Json.readObject(saved.resolve("tokenizer.json"));
    ((ObjectNode) json.path("model").path("vocab")).put("b", 9);
    Files.delete(saved.resolve("vocab.txt"));
    TextFixtures.write(saved.resolve("tokenizer.json"), Json.line(json));
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(saved)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(10);
      assertThat(tokenizer.token(7)).isNull();
      tokenizer.savePretrained(saved);
    }
    assertThat(saved.resolve("vocab.txt")).doesNotExist();
  }
}
