package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Oracle: frozen output of Hugging Face tokenizers 0.23.3. Ids are exact. */
class TokenizerReferenceTest {
  private final List<String> texts = TextFixtures.texts();

  private static int[] ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
  }

  private void check(Tokenizer tokenizer, String expectedFrom) {
    JsonNode expected = TextFixtures.json(expectedFrom + "/expected.json");
    assertThat(expected.size()).isEqualTo(texts.size()).isGreaterThan(60);
    List<Encoding> batch = tokenizer.encodeAll(texts, true);
    for (int i = 0; i < texts.size(); i++) {
      String text = texts.get(i);
      JsonNode want = expected.get(i);
      int[] special = ints(want.get("special"));
      assertThat(tokenizer.encode(text, true).ids()).as(text).isEqualTo(special);
      assertThat(batch.get(i).ids()).as(text).isEqualTo(special);
      assertThat(tokenizer.encode(text, null, true).ids()).as(text).isEqualTo(special);
      assertThat(tokenizer.ids(text)).as(text).isEqualTo(ints(want.get("plain")));
      Encoding pair = tokenizer.encode(text, texts.get((i + 7) % texts.size()), true);
      assertThat(pair.ids()).as(text).isEqualTo(ints(want.get("pair")));
      assertThat(pair.typeIds()).as(text).isEqualTo(ints(want.get("types")));
      assertThat(tokenizer.decode(special, true)).isEqualTo(want.get("decoded").asText());
      assertThat(tokenizer.decode(special, false)).isEqualTo(want.get("decodedAll").asText());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "bert-base-uncased, bert-base-uncased, bert, vocab.txt",
    "bert-base-chinese, bert-base-chinese, bert, vocab.txt",
    "byte-level-bpe, byte-level-bpe, gpt2, vocab.json",
    "byte-level-bpe-files, byte-level-bpe, gpt2, vocab.json",
    "roberta-files, roberta-files, gpt2, vocab.json"
  })
  void idsEqualTheReferences(
      String from, String expected, String family, String older, @TempDir Path directory)
      throws Exception {
    String fingerprint;
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path(from))) {
      assertThat(tokenizer.family()).isEqualTo(family);
      fingerprint = tokenizer.fingerprint();
      check(tokenizer, expected);
      tokenizer.savePretrained(directory);
    }
    try (Tokenizer saved = Tokenizer.fromPretrained(directory)) {
      assertThat(saved.fingerprint()).isEqualTo(fingerprint);
      check(saved, expected);
    }
    // What older software reads beside tokenizer.json means the same.
    assertThat(directory.resolve(older)).exists();
    Files.delete(directory.resolve("tokenizer.json"));
    try (Tokenizer saved = Tokenizer.fromPretrained(directory)) {
      check(saved, expected);
    }
  }

  @ParameterizedTest
  @CsvSource({"bert-base-uncased", "bert-base-chinese", "byte-level-bpe"})
  void tokensAndIdsAreInverse(String name) {
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path(name))) {
      int known = 0;
      for (int id = 0; id < tokenizer.vocabSize(); id++) {
        assertThat(tokenizer.id(tokenizer.token(id))).isEqualTo(id);
        known++;
      }
      assertThat(known).isGreaterThanOrEqualTo(2000);
      assertThat(tokenizer.token(-1)).isNull();
      assertThat(tokenizer.token(tokenizer.vocabSize())).isNull();
      assertThat(tokenizer.id("no such token")).isEqualTo(-1);
      assertThat(tokenizer.isSpecial(-1)).isFalse();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "bert-base-uncased, 0, 100, 101, 102, 103, -1",
    "bert-base-chinese, 0, 100, 101, 102, 103, -1",
    "byte-level-bpe, -1, 1999, -1, -1, -1, 1999"
  })
  void specialTokens(String name, int pad, int unk, int cls, int sep, int mask, int end) {
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path(name))) {
      assertThat(
              List.of(
                  tokenizer.padId(),
                  tokenizer.unkId(),
                  tokenizer.clsId(),
                  tokenizer.sepId(),
                  tokenizer.maskId(),
                  tokenizer.eosId(),
                  tokenizer.bosId()))
          .containsExactly(pad, unk, cls, sep, mask, end, end);
    }
  }

  /** A mask takes the blank before it along; the texts above hold none. */
  @Test
  void robertasSpecialTokens() {
    JsonNode want = TextFixtures.json("roberta-files/mask.json");
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path("roberta-files"))) {
      Encoding got = tokenizer.encode("Where is <mask> card, and   <mask>?", true);
      assertThat(got.ids()).isEqualTo(ints(want.get("special")));
      assertThat(got.ids()).contains(tokenizer.maskId()).doesNotContain(-1);
      assertThat(tokenizer.clsId()).isEqualTo(0).isEqualTo(tokenizer.bosId());
      assertThat(tokenizer.padId()).isEqualTo(1);
      assertThat(tokenizer.sepId()).isEqualTo(2).isEqualTo(tokenizer.eosId());
      assertThat(tokenizer.unkId()).isEqualTo(3);
    }
  }
}
