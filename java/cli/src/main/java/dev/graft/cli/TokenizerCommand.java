package dev.graft.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.BpeTrainer;
import dev.graft.text.CharTrainer;
import dev.graft.text.LineReader;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft tokenizer}. */
@Command(
    name = "tokenizer",
    description = "Trains vocabularies, and turns text into token ids and back.",
    subcommands = {
      TokenizerCommand.Train.class,
      TokenizerCommand.Encode.class,
      TokenizerCommand.Decode.class
    })
final class TokenizerCommand extends CommandGroup {
  /** {@code graft tokenizer train}. */
  @Command(
      name = "train",
      description = "Trains a vocabulary on text files and saves it in the Hugging Face format.",
      footer = {
        "Examples:",
        "  graft tokenizer train --type bpe --vocab-size 8192 --input text.txt --output tok",
        "  graft tokenizer train --type wordpiece --input a.txt --input b.txt --output tok",
        "  graft tokenizer train --type char --input shakespeare.txt --output tok"
      })
  static final class Train extends GraftCommand {
    enum Type {
      BPE,
      WORDPIECE,
      CHAR
    }

    @Option(
        names = "--type",
        paramLabel = "TYPE",
        required = true,
        description = "bpe (byte-level, as GPT-2's), wordpiece (as BERT's) or char.")
    Type type;

    @Option(
        names = "--input",
        paramLabel = "FILE",
        required = true,
        arity = "1..*",
        description = "UTF-8 text files of any size.")
    List<Path> input;

    @Option(
        names = "--output",
        paramLabel = "DIR",
        required = true,
        description = "Directory for the tokenizer.")
    Path output;

    @Option(
        names = "--vocab-size",
        paramLabel = "N",
        description = "Tokens at most (default: 8192; of char: all characters).")
    Integer vocabSize;

    @Option(
        names = "--min-frequency",
        paramLabel = "N",
        description = "bpe, wordpiece: rarer pairs are not merged (default: ${DEFAULT-VALUE}).",
        defaultValue = "2")
    int minFrequency;

    @Option(names = "--cased", description = "wordpiece: keep upper case and accents.")
    boolean cased;

    @Option(names = "--json", description = "Print the result as a JSON line.")
    boolean json;

    @Override
    public Integer call() {
      if (vocabSize != null && vocabSize < 1) {
        throw new InvalidInputException("--vocab-size: expected at least 1, got " + vocabSize);
      }
      if (cased && type != Type.WORDPIECE) {
        throw new InvalidInputException("--cased: only wordpiece vocabularies lose case");
      }
      int size = vocabSize != null ? vocabSize : type == Type.CHAR ? 0 : 8192;
      try (Tokenizer tokenizer =
          switch (type) {
            case BPE -> BpeTrainer.train(input, size, minFrequency);
            case WORDPIECE -> WordPieceTrainer.train(input, size, minFrequency, !cased);
            case CHAR -> CharTrainer.train(input, size);
          }) {
        tokenizer.savePretrained(output);
        if (json) {
          json(
              Json.object()
                  .put("vocab_size", tokenizer.vocabSize())
                  .put("output", output.toString()));
        } else {
          out().printf("%,d tokens in %s%n", tokenizer.vocabSize(), output);
        }
      }
      return ExitCode.DONE;
    }
  }

  /** {@code graft tokenizer encode}. */
  @Command(
      name = "encode",
      description =
          "Prints the token ids of each line of text, a line each, in order. Nothing is ever"
              + " truncated.",
      footer = {
        "Examples:",
        "  graft tokenizer encode --tokenizer DIR --input texts.txt --json",
        "  echo 'Hello there' | graft tokenizer encode --tokenizer DIR --no-special-tokens"
      })
  static final class Encode extends GraftCommand {
    @Option(
        names = "--tokenizer",
        paramLabel = "DIR",
        required = true,
        description =
            "Directory with tokenizer.json, vocab.txt, or vocab.json and merges.txt; or a name on a hub.")
    Path tokenizer;

    @Option(
        names = "--input",
        paramLabel = "FILE",
        description = "UTF-8, a text a line; - is standard input (default: ${DEFAULT-VALUE}).",
        defaultValue = "-")
    Path input;

    @Option(names = "--no-special-tokens", description = "Without [CLS], [SEP] and the like.")
    boolean noSpecialTokens;

    @Option(
        names = "--json",
        description = "A JSON array a line; without it ids with blanks between.")
    boolean json;

    @Override
    public Integer call() {
      try (Tokenizer loaded = Tokenizer.fromPretrained(tokenizer);
          LineReader lines = Inputs.lines(input)) {
        PrintWriter out = out();
        StringBuilder text = new StringBuilder();
        for (String line = lines.next(); line != null; line = lines.next()) {
          text.setLength(0);
          text.append(json ? "[" : "");
          int[] ids = loaded.encode(line, !noSpecialTokens).ids();
          for (int i = 0; i < ids.length; i++) {
            text.append(i == 0 ? "" : json ? "," : " ").append(ids[i]);
          }
          Inputs.answer(out, lines, text.append(json ? "]" : ""));
        }
        out.flush();
      }
      return ExitCode.DONE;
    }
  }

  /** {@code graft tokenizer decode}. */
  @Command(
      name = "decode",
      description = "Prints the text of each line of token ids, as encode writes them.",
      footer = {
        "Examples:",
        "  graft tokenizer decode --tokenizer DIR --input ids.txt",
        "  echo '[464, 3290]' | graft tokenizer decode --tokenizer DIR --json"
      })
  static final class Decode extends GraftCommand {
    @Option(
        names = "--tokenizer",
        paramLabel = "DIR",
        required = true,
        description = "Directory of the tokenizer, or a name on a hub.")
    Path tokenizer;

    @Option(
        names = "--input",
        paramLabel = "FILE",
        description =
            "Token ids, JSON arrays or plain, a text a line; - is standard input (default:"
                + " ${DEFAULT-VALUE}).",
        defaultValue = "-")
    Path input;

    @Option(names = "--keep-special-tokens", description = "Show [CLS], [SEP] and the like.")
    boolean keepSpecialTokens;

    @Option(names = "--json", description = "A JSON string a line, for texts of several lines.")
    boolean json;

    @Override
    public Integer call() {
      try (Tokenizer loaded = Tokenizer.fromPretrained(tokenizer);
          LineReader lines = Inputs.lines(input)) {
        PrintWriter out = out();
        for (String line = lines.next(); line != null; line = lines.next()) {
          String text = loaded.decode(ids(line, lines, loaded.vocabSize()), !keepSpecialTokens);
          Inputs.answer(out, lines, json ? Json.line(Json.object().textNode(text)) : text);
        }
        out.flush();
      }
      return ExitCode.DONE;
    }

    private static int[] ids(String line, LineReader from, int vocabSize) {
      String text = line.strip();
      if (!text.startsWith("[")) {
        text = "[" + text.replaceAll("[\\s,]+", ",") + "]";
      }
      JsonNode node;
      try {
        node = Json.MAPPER.readTree(text);
      } catch (JsonProcessingException e) {
        throw InvalidInputException.ofLine(from.source(), from.number(), "expected token ids");
      }
      int[] ids = new int[node.size()];
      for (int i = 0; i < ids.length; i++) {
        JsonNode id = node.get(i);
        if (!id.isInt() || id.asInt() < 0 || id.asInt() >= vocabSize) {
          throw InvalidInputException.ofLine(
              from.source(),
              from.number(),
              "expected token ids from 0 to " + (vocabSize - 1) + ", got " + id);
        }
        ids[i] = id.asInt();
      }
      return ids;
    }
  }
}
