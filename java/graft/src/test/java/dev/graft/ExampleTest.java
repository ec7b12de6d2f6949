package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example people read first compiles, runs, and is the same wherever it is printed. */
class ExampleTest {
  @TempDir Path folder;

  @Test
  void example_runsAsAUserRunsIt() throws Exception {
    try (BertTokenizer words = Fixtures.bertTokenizer(folder);
        BertForMaskedLM bert = BertForMaskedLM.create(Fixtures.bert(), words, Fixtures.small());
        Tokenizer characters = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel gpt =
            GPT2LMHeadModel.create(Fixtures.gpt2(), characters, Fixtures.small())) {
      bert.savePretrained(folder.resolve("my-bert"));
      gpt.savePretrained(folder.resolve("my-gpt2"));
    }
    StringBuilder csv = new StringBuilder("text,label\n");
    Fixtures.reviews(40, 1)
        .forEach(e -> csv.append('"' + e.text() + "\"," + e.label()).append('\n'));
    Fixtures.write(folder.resolve("reviews.csv"), csv.toString());
    Path output = folder.resolve("output");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                "example.Example")
            .directory(folder.toFile())
            .redirectError(folder.resolve("errors").toFile())
            .redirectOutput(output.toFile())
            .start();
    assertThat(process.waitFor(120, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as(Files.readString(folder.resolve("errors"))).isZero();
    // 40 reviews, a fifth held: 20 epochs of 32 in batches of 8.
    List<String> lines = Files.readAllLines(output);
    assertThat(lines.get(0)).startsWith("80 steps, loss ").contains("accuracy=");
    assertThat(lines.get(1)).isIn("positive", "negative");
    assertThat(String.join("\n", lines.subList(2, lines.size()))).hasSizeGreaterThan(50);
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromPretrained(folder.resolve("my-classifier"))) {
      assertThat(model.predict("What a lovely film!").label()).isEqualTo(lines.get(1));
    }
  }

  @Test
  void example_isWhatJavadocAndReadmeShow() throws IOException {
    String source = Files.readString(Path.of("src/test/java/example/Example.java"));
    String body =
        source
            .substring(source.indexOf("String[] args) {\n") + 17, source.lastIndexOf("  }\n}"))
            .stripTrailing()
            .stripIndent();
    String shown =
        Files.readString(Path.of("src/main/java/dev/graft/package-info.java"))
            .replace(" * ", "")
            .replace(" *\n", "\n");
    assertThat(shown).contains(body);
    assertThat(Files.readString(Path.of("../../README.md"))).contains(body);
    assertThat(body.lines().count()).isLessThanOrEqualTo(15);
  }
}
