package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;
import static org.assertj.core.api.Assertions.within;

import dev.graft.data.CleaningOptions.Broken;
import dev.graft.data.DroppedDocument.Reason;
import dev.graft.io.InvalidInputException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CorpusCleaningTest {
  @TempDir Path folder;

  private Path write(String name, String text) {
    return bytes(name, text.getBytes(StandardCharsets.UTF_8));
  }

  private Path bytes(String name, byte[] content) {
    try {
      return Files.write(folder.resolve(name), content);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Corpus lines(Path... files) {
    return Corpus.of(files).documents(DocumentMode.LINE);
  }

  @Test
  void duplicatesGoAndTheFirstStays() throws IOException {
    String long1 = "the quick brown fox jumps over the lazy dog near the old river bank today";
    String near = long1 + " again";
    String chinese = "深度学习是机器学习的一个分支它试图使用多个处理层对数据进行高层抽象的算法";
    Path in =
        write(
            "in.txt",
            String.join(
                "\n",
                long1,
                "short one",
                "  " + long1.replace(" fox", "\u200B fox "),
                "\u200B",
                near,
                chinese,
                chinese.replace("高层", "高级"),
                "unrelated words follow here and make another document of some length",
                "!!!",
                "???",
                "SHORT ONE"));
    Path out = folder.resolve("out.txt");
    List<DroppedDocument> dropped = new ArrayList<>();
    CleaningReport report =
        CorpusCleaning.run(
            lines(in), out, CleaningOptions.defaults().withNearDuplicates(0.6), dropped::add);
    assertThat(Files.readAllLines(out))
        .containsExactly(
            long1,
            "short one",
            chinese,
            "unrelated words follow here and make another document of some length",
            "!!!",
            "???");
    assertThat(dropped)
        .extracting(DroppedDocument::number, DroppedDocument::reason, DroppedDocument::of)
        .containsExactly(
            tuple(3L, Reason.EXACT_DUPLICATE, 1L),
            tuple(4L, Reason.EMPTY, 0L),
            tuple(5L, Reason.NEAR_DUPLICATE, 1L),
            tuple(7L, Reason.NEAR_DUPLICATE, 6L),
            tuple(11L, Reason.NEAR_DUPLICATE, 2L));
    // 15 words and 16: 11 runs of 12 are shared.
    assertThat(dropped.get(2).similarity()).isCloseTo(11.0 / 12, within(1e-12));
    assertThat(report.documents()).isEqualTo(11);
    assertThat(report.kept()).isEqualTo(6);
    assertThat(report.toJson().path("dropped").path("near_duplicate").asInt()).isEqualTo(3);
    assertThat(report.toJson().path("dropped").path("broken_utf8").asInt()).isZero();
    assertThat(report.removed()).isEqualTo(2);
    assertThat(Files.list(folder)).hasSize(2);
  }

  /**
   * Oracle: every document against every kept one. The bands miss a pair at the threshold once in a
   * thousand times and these texts are fixed, so the two agree in full.
   */
  @Test
  void bandsFindWhatComparingAllPairsFinds() {
    for (double threshold : new double[] {0.5, 0.8, 0.95}) {
      Random random = new Random(11);
      List<String> texts = new ArrayList<>();
      for (int i = 0; i < 600; i++) {
        boolean copy = i > 0 && random.nextInt(3) > 0;
        StringBuilder text = new StringBuilder();
        String[] from = copy ? texts.get(random.nextInt(i)).split(" ") : new String[60];
        double change = random.nextDouble() * 0.1;
        for (int w = 0; w < from.length; w++) {
          boolean other = from[w] == null || random.nextDouble() < change;
          text.append(w == 0 ? "" : " ").append(other ? "w" + random.nextInt(5000) : from[w]);
        }
        texts.add(text.toString());
      }
      Path in = write("pairs.txt", String.join("\n", texts));
      Path out = folder.resolve("pairs-clean.txt");
      List<Long> dropped = new ArrayList<>();
      CorpusCleaning.run(
          lines(in),
          out,
          CleaningOptions.defaults().withNearDuplicates(threshold).withShingle(3),
          document -> dropped.add(document.number()));
      List<Set<List<String>>> kept = new ArrayList<>();
      List<Long> expected = new ArrayList<>();
      for (int i = 0; i < texts.size(); i++) {
        List<String> words = List.of(texts.get(i).split(" "));
        Set<List<String>> runs = new HashSet<>();
        for (int w = 0; w + 3 <= words.size(); w++) {
          runs.add(words.subList(w, w + 3));
        }
        if (kept.stream().anyMatch(other -> jaccard(other, runs) >= threshold)) {
          expected.add(i + 1L);
        } else {
          kept.add(runs);
        }
      }
      assertThat(expected.size()).isGreaterThan(20);
      assertThat(dropped).isEqualTo(expected);
    }
  }

  private static double jaccard(Set<List<String>> a, Set<List<String>> b) {
    long shared = a.stream().filter(b::contains).count();
    return (double) shared / (a.size() + b.size() - shared);
  }

  /** Many documents: tables grow, the first and the last are still known. */
  @Test
  void growing() throws IOException {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 5000; i++) {
      text.append("number ").append(i).append(" of ").append(i * 7L).append(" and more\n");
    }
    for (int i : new int[] {0, 1023, 1024, 4999}) {
      text.append("Number ").append(i).append(", of ").append(i * 7L).append(" and more!\n");
    }
    Path out = folder.resolve("many-clean.jsonl");
    CleaningReport report =
        CorpusCleaning.run(
            lines(write("many.txt", text.toString())), out, CleaningOptions.defaults());
    assertThat(report.dropped()).containsOnlyKeys(Reason.NEAR_DUPLICATE);
    assertThat(report.dropped().get(Reason.NEAR_DUPLICATE)).isEqualTo(4);
    List<String> first = new ArrayList<>();
    Documents.read(List.of(out), DocumentMode.JSONL, "text", collect(first));
    assertThat(first).hasSize(5000).startsWith("number 0 of 0 and more");
  }

  private static Documents.Sink collect(List<String> texts) {
    StringBuilder text = new StringBuilder();
    return new Documents.Sink() {
      @Override
      public void text(String piece) {
        text.append(piece);
      }

      @Override
      public void endOfDocument() {
        texts.add(text.toString());
        text.setLength(0);
      }
    };
  }

  @Test
  void documentsOfAllKinds() throws IOException {
    Path blocks = write("blocks.txt", "a\n  b\u2028\u2028c\n\n\n\na\n  b\nc\n\nd\n");
    Path out = folder.resolve("blocks-clean.txt");
    CorpusCleaning.run(
        Corpus.of(blocks).documents(DocumentMode.BLANK_LINE), out, CleaningOptions.defaults());
    assertThat(out).hasContent("a\n  b\nc\n\nd\n\n");
    Path json = write("in.jsonl", "{\"body\": \"one\\n\\n\\n\\ntwo \"}\n{\"body\": \"x\"}\n");
    Path clean = folder.resolve("clean.jsonl");
    CleaningOptions two = CleaningOptions.defaults().withMinCharacters(2);
    CleaningReport report =
        CorpusCleaning.run(
            Corpus.of(json, write("more.jsonl", "{\"body\": \"\uD83D\uDE00\"}"))
                .documents(DocumentMode.JSONL)
                .field("body"),
            clean,
            two);
    assertThat(clean).hasContent("{\"text\":\"one\\n\\ntwo\"}\n");
    assertThat(report.dropped()).containsEntry(Reason.TOO_SHORT, 2L);
    CorpusCleaning.run(Corpus.of(blocks), clean, CleaningOptions.defaults());
    assertThat(clean).hasContent("{\"text\":\"a\\n  b\\n\\nc\\n\\na\\n  b\\nc\\n\\nd\"}\n");
  }

  @Test
  void brokenBytes() throws IOException {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    content.write("first\n".getBytes(StandardCharsets.UTF_8));
    content.write(new byte[] {'a', (byte) 0xE4, (byte) 0xB8, 'b', (byte) 0xFF, '\n'});
    content.write("中文 ".repeat(40_000).getBytes(StandardCharsets.UTF_8));
    content.write(new byte[] {(byte) 0xF0, (byte) 0x9F});
    Path in = bytes("broken.txt", content.toByteArray());
    Path out = folder.resolve("repaired.txt");
    CleaningOptions options = CleaningOptions.defaults();
    assertThatThrownBy(() -> CorpusCleaning.run(lines(in), out, options))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(in + ": ")
        .hasMessageContaining("not valid UTF-8");
    assertThat(out).doesNotExist();
    CleaningReport report = CorpusCleaning.run(lines(in), out, options.withBroken(Broken.REPLACE));
    List<String> lines = Files.readAllLines(out);
    assertThat(lines).hasSize(3).startsWith("first", "a\uFFFDb\uFFFD");
    assertThat(lines.get(2)).startsWith("中文 中文").endsWith("中文 \uFFFD").hasSize(120_001);
    assertThat(report.replaced()).isEqualTo(3);
    report = CorpusCleaning.run(lines(in), out, options.withBroken(Broken.DROP));
    assertThat(out).hasContent("first\n");
    assertThat(report.dropped()).containsEntry(Reason.BROKEN_UTF8, 2L);
    Path whole = folder.resolve("whole.jsonl");
    assertThat(
            CorpusCleaning.run(Corpus.of(in), whole, options.withBroken(Broken.REPLACE)).replaced())
        .isEqualTo(3);
    Path half = write("half.jsonl", "{\"text\": \"x\\ud83dy\"}\n{\"text\": \"z\"}\n");
    Corpus json = Corpus.of(half).documents(DocumentMode.JSONL);
    assertThatThrownBy(() -> CorpusCleaning.run(json, whole, options))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(half + ": document 1 has half of a surrogate pair");
    CorpusCleaning.run(json, whole, options.withBroken(Broken.REPLACE));
    assertThat(whole).hasContent("{\"text\":\"x\uFFFDy\"}\n{\"text\":\"z\"}\n");
  }

  @Test
  void refusals() throws IOException {
    Path in = write("in.txt", "text\n");
    CleaningOptions options = CleaningOptions.defaults();
    assertThatThrownBy(() -> CorpusCleaning.run(lines(in), in, options))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(in + ": is a file to be cleaned; name another");
    assertThatThrownBy(() -> CorpusCleaning.run(Corpus.of(in), folder.resolve("o.txt"), options))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("name a .jsonl");
    Path out = write("o.txt", "as it was");
    assertThatThrownBy(() -> CorpusCleaning.run(lines(in), out, options.withMinCharacters(50)))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(in + ": no document is left of it");
    assertThat(out).hasContent("as it was");
    assertThatThrownBy(() -> options.withNearDuplicates(0.1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> options.withShingle(0)).isInstanceOf(IllegalArgumentException.class);
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactlyInAnyOrder(in, out);
    }
  }
}
