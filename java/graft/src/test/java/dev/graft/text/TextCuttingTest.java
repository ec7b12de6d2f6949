package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Long texts go through in pieces. Oracle: the same text encoded whole. */
class TextCuttingTest {
  private static final String[] PARTS = {
    "a",
    "don't",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u0085",
    "\u2003",
    "\u2028",
    "\u3000",
    "\u001c",
    "\u200b",
    "!",
    "...",
    "12",
    "中文",
    "é",
    "e\u0301",
    "\uD83D\uDE00",
    "<|endoftext|>",
    "[MASK]",
    "\u0000",
    "'s"
  };

  private static String random(Random random, int parts) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < parts; i++) {
      text.append(PARTS[random.nextInt(PARTS.length)]);
    }
    return text.toString();
  }

  private static int[] join(int[] a, int[] b) {
    return IntStream.concat(Arrays.stream(a), Arrays.stream(b)).toArray();
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-base-uncased", "bert-base-chinese", "byte-level-bpe"})
  void noTokenReachesAcrossACut(String name) {
    Random random = new Random(7);
    int cuts = 0;
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path(name))) {
      for (int n = 0; n < 200; n++) {
        String text = random(random, 12);
        int[] whole = tokenizer.ids(text);
        for (int at = 1; at < text.length(); at++) {
          if (TextPieces.isCut(text, at)) {
            cuts++;
            assertThat(
                    join(tokenizer.ids(text.substring(0, at)), tokenizer.ids(text.substring(at))))
                .as("%s cut at %d", text, at)
                .isEqualTo(whole);
          }
        }
      }
    }
    assertThat(cuts).isGreaterThan(100);
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-base-uncased", "byte-level-bpe"})
  void aLongTextGivesTheIdsOfTheWhole(String name) {
    String text = random(new Random(3), 30_000);
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path(name))) {
      assertThat(tokenizer.ids(text)).isEqualTo(tokenizer.encode(text, false).ids());
    }
  }

  @Test
  void piecesOfAFileAreItsText(@TempDir Path directory) {
    // Once with places to cut, once without any and with a surrogate pair at every odd offset.
    String cuttable = random(new Random(5), 800_000);
    String solid = "x" + "\uD83D\uDE00".repeat(6 * TextPieces.SIZE);
    for (String text : List.of(cuttable, solid)) {
      List<String> pieces = new ArrayList<>();
      TextReader.pieces(TextFixtures.write(directory.resolve("a.txt"), text), pieces::add);
      assertThat(String.join("", pieces).equals(text)).isTrue();
      assertThat(pieces.size()).isGreaterThan(1);
      for (String piece : pieces) {
        assertThat(piece.length()).isLessThan(11 * TextPieces.SIZE);
        assertThat(Character.isLowSurrogate(piece.charAt(0))).isFalse();
      }
    }
  }

  @Test
  void halfASurrogatePairIsOneReplacementCharacter() {
    assertThat(HuggingFaceTokenizer.wellFormed("a\uD83Db\uDE00\uD83D\uDE00\uD83D"))
        .isEqualTo("a\uFFFDb\uFFFD\uD83D\uDE00\uFFFD");
    String fine = "a\uD83D\uDE00";
    assertThat(HuggingFaceTokenizer.wellFormed(fine)).isSameAs(fine);
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path("byte-level-bpe"))) {
      assertThat(tokenizer.decode(tokenizer.ids("x\uD83Dy"), false)).isEqualTo("x\uFFFDy");
    }
  }

  @Test
  void aClosedTokenizerSaysSo() {
    Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path("byte-level-bpe"));
    tokenizer.close();
    tokenizer.close();
    assertThatThrownBy(() -> tokenizer.ids("a"))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("was closed");
  }
}
