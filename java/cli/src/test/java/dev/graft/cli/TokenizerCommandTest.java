package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.cli.Cli.Result;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenizerCommandTest {
  @TempDir Path folder;
  private Path text;

  @BeforeEach
  void text() {
    text = Cli.write(folder.resolve("text.txt"), "the birds sang", "床前明月光", "the birds sing");
  }

  private Path train(String type, Object... more) {
    Path tokenizer = folder.resolve(type);
    Cli.run(
            Cli.line(
                List.of("tokenizer", "train", "--type", type, "--input", text.toString()),
                List.of("--output", tokenizer.toString()),
                List.of(more)))
        .done();
    return tokenizer;
  }

  /** Decoding gives the text back: lines of ids in order, none of them cut. */
  @ParameterizedTest
  @CsvSource({"bpe,300", "char,0", "wordpiece,60"})
  void encodedLines_decodeToTheText(String type, int size) throws IOException {
    Path tokenizer =
        size == 0 ? train(type) : train(type, "--vocab-size", size, "--min-frequency", 1);
    String lengthy = "the birds sang ".repeat(5000).strip();
    Path lines = Cli.write(folder.resolve("lines.txt"), "the birds sing", "", "明月", lengthy);
    Result ids =
        Cli.run(
                "tokenizer",
                "encode",
                "--tokenizer",
                tokenizer,
                "--input",
                lines,
                "--json",
                "--no-special-tokens")
            .done();
    assertThat(ids.lines()).hasSize(4).allMatch(line -> line.matches("\\[[\\d,]*]"));
    assertThat(ids.lines().get(1)).isEqualTo("[]");
    Path encoded = Files.writeString(folder.resolve("ids.txt"), ids.out());
    Result back =
        Cli.run("tokenizer", "decode", "--tokenizer", tokenizer, "--input", encoded).done();
    List<String> expected = Files.readAllLines(lines);
    if (type.equals("wordpiece")) { // Chinese characters are words of their own
      expected.set(2, "明 月");
    }
    assertThat(back.lines()).isEqualTo(expected);
  }

  @Test
  void specialTokens_comeUnlessToldNotTo() {
    Path tokenizer = train("wordpiece", "--vocab-size", 60, "--min-frequency", 1);
    Path line = Cli.write(folder.resolve("line.txt"), "the birds");
    List<String> with =
        Cli.run("tokenizer", "encode", "--tokenizer", tokenizer, "--input", line).done().lines();
    assertThat(with.get(0)).startsWith("2 ").endsWith(" 3"); // [CLS] … [SEP]
    List<String> without =
        Cli.run(
                "tokenizer",
                "encode",
                "--tokenizer",
                tokenizer,
                "--input",
                line,
                "--no-special-tokens")
            .done()
            .lines();
    assertThat("2 " + without.get(0) + " 3").isEqualTo(with.get(0));
  }

  @Test
  void lineEnds_areNewlineAndCarriageReturnOnly() throws IOException {
    Path tokenizer = train("char");
    Path lines = folder.resolve("lines.txt");
    Files.writeString(lines, "\uFEFFthe\r\nbirds\u2028sing\n\u0085sang");
    List<String> ids =
        Cli.run("tokenizer", "encode", "--tokenizer", tokenizer, "--input", lines).done().lines();
    assertThat(ids).hasSize(3);
    assertThat(ids.get(0).split(" ")).hasSize(3); // no mark, no \r
    assertThat(ids.get(1).split(" ")).hasSize(10);
    assertThat(ids.get(2).split(" ")).hasSize(5);
  }

  @Test
  void trainedTokenizer_isToldAsJson() {
    Result result =
        Cli.run(
                "tokenizer",
                "train",
                "--type",
                "char",
                "--input",
                text,
                "--output",
                folder.resolve("char"),
                "--json")
            .done();
    assertThat(result.json().get(0).get("vocab_size").asInt())
        .isEqualTo(19); // 17 characters, newline, <unk>
  }

  @Test
  void badInput_namesFilePlaceAndCause() throws IOException {
    Path tokenizer = train("char");
    Path broken = folder.resolve("broken.txt");
    Files.write(broken, new byte[] {'a', '\n', (byte) 0xC3, '\n'});
    Result second = Cli.run("tokenizer", "encode", "--tokenizer", tokenizer, "--input", broken);
    assertThat(second.code()).isEqualTo(ExitCode.INVALID_INPUT);
    assertThat(second.err()).contains("broken.txt: at byte 2: not valid UTF-8");
    Cli.run("tokenizer", "encode", "--tokenizer", tokenizer, "--input", folder.resolve("no.txt"))
        .refused("no.txt: no such file");
    Path ids = Cli.write(folder.resolve("ids.txt"), "1 2", "3 999999");
    assertThat(Cli.run("tokenizer", "decode", "--tokenizer", tokenizer, "--input", ids).err())
        .contains("ids.txt: line 2", "999999");
    Cli.write(ids, "[1, \"x\"]");
    Cli.run("tokenizer", "decode", "--tokenizer", tokenizer, "--input", ids)
        .refused("ids.txt: line 1", "\"x\"");
    Cli.write(folder.resolve("bad/tokenizer.json"), "{\"model\": {\"type\": \"BPE\", ");
    Cli.run("tokenizer", "encode", "--tokenizer", folder.resolve("bad"), "--input", text)
        .refused("tokenizer.json", "not valid JSON");
    Files.createDirectories(folder.resolve("empty"));
    Cli.run("tokenizer", "encode", "--tokenizer", folder.resolve("empty"), "--input", text)
        .refused("empty: there is no tokenizer here");
    Cli.run("tokenizer", "encode", "--tokenizer", "no-such-bert", "--input", text)
        .refused("no-such-bert: no such directory", "HF_HUB_OFFLINE");
  }

  @Test
  void trainingThatCannotBe_leavesNothing() throws IOException {
    Path empty = Files.createFile(folder.resolve("empty.txt"));
    List<String> before = Cli.tree(folder);
    Path output = folder.resolve("out");
    train(output, "bpe", text, 100).refused("at least 257");
    train(output, "wordpiece", text, 10).refused("text.txt", "a vocabulary of 10 is too small");
    train(output, "char", text, 1).refused("at least 2 tokens");
    train(output, "bpe", empty, 300).refused("empty.txt: there is no text to train on");
    train(output, "bpe", folder.resolve("none.txt"), 300).refused("none.txt: no such file");
    // A file where a directory should be cannot be written into, not even by root.
    train(empty.resolve("out"), "char", text, 20).refused("empty.txt");
    assertThat(Cli.tree(folder)).isEqualTo(before);
  }

  private static Result train(Path output, String type, Path input, int size) {
    return Cli.run(
        "tokenizer",
        "train",
        "--type",
        type,
        "--input",
        input,
        "--output",
        output,
        "--vocab-size",
        size);
  }
}
