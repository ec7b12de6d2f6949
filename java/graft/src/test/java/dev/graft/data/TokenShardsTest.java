package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.CharTrainer;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenShardsTest {
  @TempDir Path directory;

  private Path corpus(int lines) {
    Random random = new Random(lines);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < lines; i++) {
      random.ints(random.nextInt(30) + 1, 'a', 'k').forEach(c -> text.append((char) c));
      text.append("\n\n");
    }
    return TextFixtures.write(directory.resolve("corpus.txt"), text.toString());
  }

  private TokenShards build(Path corpus, Tokenizer tokenizer, String name, long shardTokens) {
    return TokenShards.build(
        Corpus.of(corpus).documents(DocumentMode.LINE),
        tokenizer,
        directory.resolve(name),
        shardTokens);
  }

  /** Every place a shard can end, seen from tokens and documents. Oracle: one shard. */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 7, 64, 1000})
  void shardBordersDoNotShow(long shardTokens) throws IOException {
    Path corpus = corpus(60);
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0);
        TokenShards whole = build(corpus, tokenizer, "whole", TokenShards.SHARD);
        TokenShards cut = build(corpus, tokenizer, "cut", shardTokens)) {
      assertThat(cut.toArray()).isEqualTo(whole.toArray()).hasSizeGreaterThan(500);
      assertThat(cut.documents()).isEqualTo(60);
      for (long d = 0; d <= cut.documents(); d++) {
        assertThat(cut.documentStart(d)).isEqualTo(whole.documentStart(d));
      }
      try (Stream<Path> files = Files.list(directory.resolve("cut"))) {
        assertThat(files.count()).isEqualTo((whole.tokens() + shardTokens - 1) / shardTokens + 2);
      }
      // A set built anew leaves no shard of the old one behind.
      try (TokenShards again = build(corpus, tokenizer, "cut", TokenShards.SHARD);
          Stream<Path> files = Files.list(directory.resolve("cut"))) {
        assertThat(again.toArray()).isEqualTo(whole.toArray());
        assertThat(again.fingerprint()).isEqualTo(whole.fingerprint());
        assertThat(files.count()).isEqualTo(3);
      }
    }
  }

  @Test
  void idsOfTwoAndFourBytes() {
    for (int size : new int[] {65_536, 65_537}) {
      StringBuilder text = new StringBuilder();
      IntStream.range(0, size - 1)
          .map(i -> i < 0xD000 ? 0x20 + i + (i + 0x20 >= 0xD7F0 ? 0x3000 : 0) : 0x10000 + i)
          .forEach(text::appendCodePoint);
      Path corpus = TextFixtures.write(directory.resolve("wide.txt"), text.toString());
      try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0);
          TokenShards shards =
              TokenShards.build(
                  List.of(corpus), DocumentMode.FILE, "text", tokenizer, directory.resolve("w"))) {
        assertThat(tokenizer.vocabSize()).isEqualTo(size);
        assertThat(shards.toArray()).isEqualTo(IntStream.range(0, size - 1).toArray());
        assertThat(directory.resolve("w/tokens-00000.bin"))
            .hasSize((size - 1L) * (size <= 65_536 ? 2 : 4));
        assertThat(shards.vocabSize()).isEqualTo(size);
        assertThat(shards.vocabulary()).isEqualTo(tokenizer.fingerprint());
      }
    }
  }

  private void refused(Path set, Consumer<ObjectNode> change, String message) throws IOException {
    Path manifest = set.resolve(TokenShards.MANIFEST);
    byte[] before = Files.readAllBytes(manifest);
    ObjectNode json = Json.readObject(manifest);
    change.accept(json);
    Files.writeString(manifest, Json.line(json));
    assertThatThrownBy(() -> TokenShards.open(set))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining(message);
    Files.write(manifest, before);
  }

  @Test
  void manifestsThatCannotBe() throws IOException {
    Path corpus = corpus(20);
    Path set = directory.resolve("set");
    long tokens;
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0);
        TokenShards shards = build(corpus, tokenizer, "set", 50)) {
      tokens = shards.tokens();
    }
    refused(set, json -> json.put("version", 2), "shards.json: version: expected 1, got 2");
    refused(set, json -> json.remove("tokens"), "shards.json: tokens: expected a number");
    refused(set, json -> json.put("tokens", 1.5), "tokens: expected a number");
    refused(set, json -> json.put("tokens", Long.MAX_VALUE), "tokens: expected a number");
    refused(set, json -> json.put("tokens", Long.MAX_VALUE / 8), "do not make");
    refused(set, json -> json.put("tokens", tokens + 50), "do not make");
    refused(set, json -> json.put("tokens", tokens - 1), "truncated?");
    refused(set, json -> json.put("documents", tokens + 1), "documents: expected a number");
    refused(set, json -> json.put("documents", 19), "documents.bin: expected 152 bytes");
    refused(set, json -> json.put("tokens_per_shard", 0), "tokens_per_shard: expected a number");
    refused(set, json -> json.put("tokens_per_shard", 1L << 40), "tokens_per_shard");
    refused(set, json -> json.put("bytes_per_token", 3), "do not make");
    refused(set, json -> json.put("bytes_per_token", 4), "tokens-00000.bin: expected 200 bytes");
    refused(set, json -> json.put("vocab_size", 70_000), "vocab_size: expected a number");
    refused(set, json -> json.putArray("shards"), "do not make 0 shards");
    refused(set, json -> ((ArrayNode) json.get("shards")).add(1), "do not make");
    refused(set, json -> ((ArrayNode) json.get("shards")).set(0, Json.object()), "'crc32c'");
    refused(set, json -> json.put("documents_crc32c", "0"), "documents.bin: its checksum");
    refused(set, json -> json.remove("vocabulary"), "there is no text 'vocabulary'");
    TokenShards.open(set).close();
  }

  @Test
  void everyChangedByteIsSeen() throws IOException {
    Path corpus = corpus(12);
    Path set = directory.resolve("set");
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0)) {
      build(corpus, tokenizer, "set", 64).close();
    }
    for (String name : List.of("tokens-00000.bin", "tokens-00001.bin", TokenShards.DOCUMENTS)) {
      Path file = set.resolve(name);
      byte[] right = Files.readAllBytes(file);
      for (int at = 0; at < right.length; at++) {
        byte[] wrong = right.clone();
        wrong[at] ^= (byte) (1 << (at % 8));
        Files.write(file, wrong);
        assertThatThrownBy(() -> TokenShards.open(set))
            .isInstanceOf(InvalidInputException.class)
            .hasMessage(file + ": its checksum is not that of shards.json");
      }
      for (int length : new int[] {0, 1, right.length - 1}) {
        Files.write(file, java.util.Arrays.copyOf(right, length));
        assertThatThrownBy(() -> TokenShards.open(set))
            .isInstanceOf(InvalidInputException.class)
            .hasMessageContaining(name + ": expected " + right.length + " bytes");
      }
      Files.delete(file);
      assertThatThrownBy(() -> TokenShards.open(set)).hasMessage(file + ": no such file");
      Files.write(file, right);
    }
    TokenShards.open(set).close();
  }

  @Test
  void idsBeyondTheVocabularyAreRefusedWhereTheyStand() throws IOException {
    Path corpus = corpus(12);
    Path set = directory.resolve("set");
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0)) {
      build(corpus, tokenizer, "set", 64).close();
    }
    Path manifest = set.resolve(TokenShards.MANIFEST);
    ObjectNode json = Json.readObject(manifest);
    Files.writeString(manifest, Json.line(json.put("vocab_size", 1)));
    try (TokenShards shards = TokenShards.open(set)) {
      assertThatThrownBy(shards::toArray)
          .isInstanceOf(InvalidInputException.class)
          .hasMessageMatching(".*set: token \\d+ has the id \\d+");
    }
  }

  @Test
  void aFailureLeavesNothing() throws IOException {
    Path corpus = corpus(50);
    Path bad = Files.write(directory.resolve("bad.txt"), new byte[] {'a', '\n', (byte) 0xFF});
    Path empty = Files.write(directory.resolve("empty.txt"), new byte[0]);
    Path set = directory.resolve("set");
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0)) {
      for (Path wrong : List.of(bad, empty)) {
        build(corpus, tokenizer, "set", 64).close();
        assertThat(TokenShards.exists(set)).isTrue();
        assertThatThrownBy(
                () ->
                    TokenShards.build(
                        wrong == bad ? List.of(corpus, bad) : List.of(empty),
                        DocumentMode.LINE,
                        "text",
                        tokenizer,
                        set))
            .isInstanceOf(InvalidInputException.class)
            .hasMessageStartingWith(wrong + ": ");
        assertThat(TokenShards.exists(set)).isFalse();
        assertThat(set).isEmptyDirectory();
      }
    }
  }

  @Test
  void closedSetsSaySo() {
    Path corpus = corpus(5);
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0)) {
      TokenShards shards = build(corpus, tokenizer, "set", 64);
      shards.close();
      assertThatThrownBy(() -> shards.token(0))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("were closed");
    }
  }

  @Test
  void rangesDivideTheCorpus() {
    Path corpus = corpus(40);
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0);
        TokenShards shards = build(corpus, tokenizer, "set", 64)) {
      TokenRange all = shards.all();
      TokenRange head = all.head(0.9);
      TokenRange tail = all.tail(0.9);
      assertThat(head.size() + tail.size()).isEqualTo(all.size());
      assertThat(tail.token(0)).isEqualTo(all.token(head.size()));
      assertThat(head.fingerprint()).isNotEqualTo(tail.fingerprint());
      assertThatThrownBy(() -> new TokenRange(shards, 1, shards.tokens() + 1))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
