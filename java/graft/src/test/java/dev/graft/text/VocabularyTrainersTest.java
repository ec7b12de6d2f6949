package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VocabularyTrainersTest {
  @TempDir Path directory;
  private final List<String> texts = TextFixtures.texts();
  private Path corpus;

  @BeforeEach
  void writeCorpus() {
    corpus = TextFixtures.write(directory.resolve("corpus.txt"), String.join("\n", texts));
  }

  private Path file(String name, String text) {
    return TextFixtures.write(directory.resolve(name), text);
  }

  /** The library breaks ties as we do: the pair of smaller ids first. */
  @Test
  void bytePairMergesEqualHuggingFaces() throws Exception {
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(corpus), 900, 2)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(900);
      tokenizer.savePretrained(directory.resolve("out"));
    }
    List<String> merges = Files.readAllLines(directory.resolve("out/merges.txt"));
    assertThat(merges)
        .isEqualTo(Files.readAllLines(TextFixtures.path("trained-merges.txt")))
        .hasSizeGreaterThan(600);
  }

  @Test
  void everyTextComesBackFromItsBytes() {
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(file("tiny.txt", "ab ab ab")), 260, 1)) {
      assertThat(tokenizer.id("ab")).isPositive();
      assertThat(tokenizer.token(tokenizer.vocabSize() - 1)).isEqualTo("<|endoftext|>");
      for (String text : texts) {
        assertThat(tokenizer.decode(tokenizer.ids(text), false)).isEqualTo(text);
      }
    }
  }

  @Test
  void fewerTokensWhereTheTextHasNoMorePairs() {
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(file("few.txt", "abc")), 1000, 1)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(BpeTrainer.SMALLEST + 2);
    }
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(file("few.txt", "abc")), 1000, 2)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(BpeTrainer.SMALLEST);
    }
  }

  @Test
  void theOrderOfTheTextDoesNotMatter() {
    List<String> words = new ArrayList<>(List.of(String.join(" ", texts).split("\\s+")));
    Set<String> bytePair = new HashSet<>();
    Set<String> wordPiece = new HashSet<>();
    Set<String> characters = new HashSet<>();
    for (int n = 0; n < 3; n++) {
      Collections.shuffle(words, new Random(n));
      List<Path> files =
          List.of(
              file("first.txt", String.join("\n", words.subList(0, words.size() / (n + 2))) + "\n"),
              file(
                  "second.txt",
                  String.join("\n", words.subList(words.size() / (n + 2), words.size())) + "\n"));
      try (Tokenizer a = BpeTrainer.train(files, 600, 1);
          Tokenizer b = WordPieceTrainer.train(files, 1200, 1, true);
          Tokenizer c = CharTrainer.train(files, 100)) {
        bytePair.add(a.fingerprint());
        wordPiece.add(b.fingerprint());
        characters.add(c.fingerprint());
      }
    }
    assertThat(List.of(bytePair.size(), wordPiece.size(), characters.size()))
        .containsExactly(1, 1, 1);
  }

  @Test
  void wordPieceSetsChineseCharactersApart() {
    Path chinese = file("zh.txt", "中文分词 中文分词 中文abc中文abc, É é");
    try (Tokenizer tokenizer = WordPieceTrainer.train(List.of(chinese), 100, 1, true)) {
      for (int id = 0; id < tokenizer.vocabSize(); id++) {
        String token = tokenizer.token(id);
        assertThat(token.codePoints().filter(c -> c >= 0x4E00 && c < 0xA000).count())
            .as(token)
            .isLessThanOrEqualTo(token.length() == 1 ? 1 : 0);
      }
      assertThat(tokenizer.ids("中文")).containsExactly(tokenizer.id("中"), tokenizer.id("文"));
      assertThat(tokenizer.ids("abc")).containsExactly(tokenizer.id("abc"));
      assertThat(tokenizer.ids("É")).containsExactly(tokenizer.id("e"));
      assertThat(tokenizer.ids("龘 z")).containsOnly(tokenizer.unkId());
      assertThat(tokenizer.encode("a", true).ids())
          .containsExactly(tokenizer.clsId(), tokenizer.id("a"), tokenizer.sepId());
    }
  }

  @Test
  void wordPieceKnowsEveryWordOfItsText() {
    for (boolean lowercase : new boolean[] {true, false}) {
      try (Tokenizer tokenizer = WordPieceTrainer.train(List.of(corpus), 3000, 1, lowercase)) {
        for (String text : texts) {
          // Words of more than 100 characters are unknown by definition.
          if (!text.contains("c".repeat(101))
              && !text.contains("supercali")
              && !text.contains("[UNK]")) {
            assertThat(tokenizer.ids(text)).as(text).doesNotContain(tokenizer.unkId());
          }
        }
      }
    }
  }

  @Test
  void theMachinesLanguageDoesNotMatter() {
    Path file = file("i.txt", "TITLE İstanbul title");
    Locale before = Locale.getDefault();
    try {
      Set<String> fingerprints = new HashSet<>();
      for (String language : List.of("en", "tr", "az", "ar")) {
        Locale.setDefault(Locale.forLanguageTag(language));
        try (Tokenizer tokenizer = WordPieceTrainer.train(List.of(file), 60, 1, true)) {
          fingerprints.add(tokenizer.fingerprint());
          assertThat(tokenizer.ids("TITLE")).isEqualTo(tokenizer.ids("title"));
        }
      }
      assertThat(fingerprints).hasSize(1);
    } finally {
      Locale.setDefault(before);
    }
  }

  @Test
  void charactersCoverTheirText() {
    try (Tokenizer tokenizer = CharTrainer.train(List.of(corpus), 0)) {
      assertThat(tokenizer.family()).isEqualTo("char");
      String all = String.join("\n", texts);
      int[] ids = tokenizer.ids(all);
      // The unknown token stands in the corpus only if its own name does.
      assertThat(ids).doesNotContain(tokenizer.unkId());
      assertThat(ids.length).isEqualTo(all.codePointCount(0, all.length()));
      assertThat(tokenizer.decode(ids, false)).isEqualTo(all);
      assertThat(tokenizer.ids("ꙮ")).containsExactly(tokenizer.unkId());
      tokenizer.savePretrained(directory.resolve("char"));
      try (Tokenizer saved = Tokenizer.fromPretrained(directory.resolve("char"))) {
        assertThat(saved.fingerprint()).isEqualTo(tokenizer.fingerprint());
        assertThat(saved.ids(all)).isEqualTo(ids);
      }
    }
    try (Tokenizer tokenizer =
        CharTrainer.train(List.of(file("abc.txt", "aaabbc\uD83D\uDE00\uD83D\uDE00")), 4)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(4);
      assertThat(tokenizer.ids("abc\uD83D\uDE00")).containsExactly(0, 1, 3, 2);
    }
  }

  @Test
  void errorsNameTheCause() throws Exception {
    List<Path> one = List.of(corpus);
    assertThatThrownBy(() -> BpeTrainer.train(one, 256, 1))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("at least 257 tokens");
    assertThatThrownBy(() -> WordPieceTrainer.train(one, 20, 1, true))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageMatching(".*corpus.txt: a vocabulary of 20 is too small: .* need \\d+");
    assertThatThrownBy(() -> CharTrainer.train(one, 1))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("at least 2 tokens, not 1");
    Path empty = file("empty.txt", "");
    Path bad = Files.write(directory.resolve("bad.txt"), new byte[] {'a', 'b', (byte) 0xFF});
    for (Path file : List.of(empty, bad)) {
      String message =
          file
              + (file == empty ? ": there is no text to train on" : ": at byte 2: not valid UTF-8");
      assertThatThrownBy(() -> BpeTrainer.train(List.of(file), 300, 1)).hasMessage(message);
      assertThatThrownBy(() -> WordPieceTrainer.train(List.of(file), 300, 1, true))
          .hasMessage(message);
      assertThatThrownBy(() -> CharTrainer.train(List.of(file), 300)).hasMessage(message);
    }
    assertThatThrownBy(() -> BpeTrainer.train(List.of(), 300, 1))
        .isInstanceOf(InvalidInputException.class);
  }

  @Test
  void smallestWordPieceVocabularyIsEnough() {
    try {
      WordPieceTrainer.train(List.of(corpus), 1, 1, true);
    } catch (InvalidInputException e) {
      int smallest = Integer.parseInt(e.getMessage().replaceAll(".* need ", ""));
      try (Tokenizer tokenizer = WordPieceTrainer.train(List.of(corpus), smallest, 1, true)) {
        assertThat(tokenizer.vocabSize()).isEqualTo(smallest);
      }
      return;
    }
    throw new AssertionError("a vocabulary of 1 was accepted");
  }

  @Test
  void countsStayBoundedAndKeepTheFrequentWords() {
    WordCounts counts = new WordCounts(100);
    for (int i = 0; i < 10_000; i++) {
      counts.add("rare" + i);
      counts.add("often" + i % 20);
    }
    assertThat(counts.sorted().size()).isBetween(20, 100);
    for (int i = 0; i < 20; i++) {
      assertThat(counts.sorted()).containsEntry("often" + i, 500L);
    }
    WordCounts longest = new WordCounts();
    longest.add("\uD83D\uDE00".repeat(WordCounts.LONGEST_WORD) + "x");
    assertThat(longest.sorted().keySet())
        .allMatch(word -> word.length() <= WordCounts.LONGEST_WORD)
        .noneMatch(word -> Character.isLowSurrogate(word.charAt(0)));
  }
}
