package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.TextCleaner.Form;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextCleanerTest {
  private static String clean(String text) {
    return new TextCleaner().clean(text);
  }

  @Test
  void normalForms() {
    assertThat(clean("cafe\u0301 \uFF21\uFF22 \uFB01 ½"))
        .isEqualTo("caf\u00E9 \uFF21\uFF22 \uFB01 ½");
    assertThat(new TextCleaner(Form.NFKC, false, 2).clean("cafe\u0301 \uFF21\uFF22 \uFB01"))
        .isEqualTo("caf\u00E9 AB fi");
    assertThat(new TextCleaner(Form.NONE, false, 2).clean("cafe\u0301")).isEqualTo("cafe\u0301");
  }

  @Test
  void noiseGoes() {
    TextCleaner cleaner = new TextCleaner();
    assertThat(
            cleaner.clean(
                "\uFEFFa\u0000b\u0007c\u200Bd\u200Ce\u200Df\u00ADg\u2060h\u202Ei\u2066j\u009Fk\uFFFEl"))
        .isEqualTo("abcdefghijkl");
    assertThat(cleaner.removed()).isEqualTo(12);
    assertThat(clean("\u4E2D\u200B\u6587\u200D\uFEFF\u5B57")).isEqualTo("\u4E2D\u6587\u5B57");
    // A hidden message in tag characters.
    assertThat(clean("x\uDB40\uDC68\uDB40\uDC69")).isEqualTo("x");
  }

  /** Text in which every invisible character is spelling. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645", // Persian mi-khwaham
        "\u06A9\u062A\u0627\u0628\u200C\u0647\u0627\u06CC", // Persian ketab-ha-ye
        "\u0647\u200D", // Arabic heh in its initial form, for the Hijri year
        "\u0915\u094D\u200D\u0937", // Devanagari half ka
        "\u0915\u094D\u200C\u0937", // Devanagari ka with visible virama
        "\u0D28\u0D4D\u200D \u0D05", // Malayalam chillu before a space
        "\u0DC1\u0DCA\u200D\u0DBB\u0DD3", // Sinhala sri
        "\u0E2A\u0E27\u0E31\u0E2A\u200B\u0E14\u0E35", // Thai, a place to break
        "\u1780\u17D2\u200B\u1781", // Khmer
        "\uD83D\uDC69\u200D\uD83D\uDCBB", // woman technologist
        "\uD83D\uDC69\uD83C\uDFFD\u200D\uD83D\uDE80", // with a skin tone
        "\u2764\uFE0F\u200D\uD83D\uDD25", // heart on fire
        "\uD83C\uDFF3\uFE0F\u200D\u26A7\uFE0F", // flag with a sign of the first plane
        "\uD83C\uDFF4\uDB40\uDC67\uDB40\uDC62\uDB40\uDC65\uDB40\uDC6E\uDB40\uDC67\uDB40\uDC7F",
        "\u1820\u180E\u1820", // Mongolian vowel separator
        "\u06DD\u0661", // end of ayah: a format character with a glyph
        "\u845B\uDB40\uDD00", // an ideograph's variant
      })
  void spellingStays(String text) {
    assertThat(clean(text)).isEqualTo(text);
  }

  @Test
  void spacesAndLines() {
    assertThat(clean("a  b\u00A0\u2003c\td  \r\n  e\r\r\r\n\n\nf \u2028g\n\n"))
        .isEqualTo("a b c\td\n  e\n\nf\ng");
    assertThat(clean("\n\n  a\n \t\n b")).isEqualTo("  a\n\n b");
    assertThat(clean("\u3000\u3000\u6BB5\u843D\u3000\n\u3000\u6587"))
        .isEqualTo("\u3000\u3000\u6BB5\u843D\n\u3000\u6587");
    assertThat(new TextCleaner(Form.NFC, true, 2).clean("a   b\n  c   d  "))
        .isEqualTo("a   b\n  c   d");
    assertThat(new TextCleaner(Form.NFC, false, 1).clean("a\n\n\u2029b")).isEqualTo("a\nb");
    assertThat(new TextCleaner(Form.NFC, false, 0).clean("  a\u2028\u0085b\fc\r\n"))
        .isEqualTo("a b c");
    assertThat(clean(" \n\u200B\t\u3000")).isEmpty();
  }

  /** Cleaning what is clean changes nothing. */
  @Test
  void settles() {
    Random random = new Random(3);
    int[] pool = {
      'a', ' ', ' ', '\n', '\r', '\t', 0x3000, 0xA0, 0x200B, 0x200C, 0x200D, 0x915, 0x94D, 0x645,
      0x2028, 0x1F469, 0xFE0F, 0x301, 0x4E2D, 0xE0067, 0x1F3F4, 0xFEFF
    };
    for (Form form : Form.values()) {
      for (int newlines = 0; newlines <= 2; newlines++) {
        for (int run = 0; run < 2000; run++) {
          StringBuilder text = new StringBuilder();
          for (int i = random.nextInt(20); i > 0; i--) {
            text.appendCodePoint(pool[random.nextInt(pool.length)]);
          }
          String once = new TextCleaner(form, false, newlines).clean(text.toString());
          assertThat(new TextCleaner(form, false, newlines).clean(once)).isEqualTo(once);
          assertThat(once).doesNotContain("\n".repeat(newlines + 1)).doesNotContain(" \n");
        }
      }
    }
  }
}
