package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertModel;
import dev.graft.apply.EmbeddingOptions;
import dev.graft.apply.EmbeddingOptions.Pooling;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft embed}. */
@Command(
    name = "embed",
    description =
        "Prints each text as one vector: numbers with blanks between, or a JSON line. A"
            + " sentence-transformers model is used as it was published.",
    footer = {
      "Examples:",
      "  graft embed --model runs/bert 'Where is my card?'",
      "  graft embed --model minilm --input texts.txt --json > vectors.jsonl",
      "  graft embed --model runs/bert --pooling cls --normalize --input -"
    })
final class EmbedCommand extends GraftCommand {
  private static final int BATCH = 32;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a BERT, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts.")
  List<String> texts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description = "A text a line; - is standard input.")
  Path input;

  @Option(
      names = "--pooling",
      paramLabel = "HOW",
      order = 3,
      description = "mean of all tokens, or cls (default: as the model says, else mean).")
  Pooling pooling;

  @Option(
      names = "--normalize",
      negatable = true,
      order = 4,
      description = "Vectors of length 1 (default: as the model says, else not).")
  Boolean normalize;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      order = 5,
      description = "Longest text in tokens, longer ones are cut (default: as the model says).")
  Integer maxLength;

  @Mixin ComputeOptions compute;

  @Option(names = "--json", order = 950, description = "A JSON line a text: text, embedding.")
  boolean json;

  @Override
  public Integer call() {
    if ((input == null) == texts.isEmpty()) {
      throw new InvalidInputException("give texts, or --input, and not both");
    }
    if (maxLength != null && maxLength < 1) {
      throw new InvalidInputException("--max-length: expected at least 1, got " + maxLength);
    }
    Models.require(model, "embed", "BERT", !Models.isGpt2(model));
    try (BertModel loaded = BertModel.fromPretrained(model, Models.options(compute))) {
      EmbeddingOptions options = options(loaded.embeddingOptions());
      if (input == null) {
        answer(loaded, texts, options);
      } else {
        Inputs.batches(
            input,
            BATCH,
            lines -> {
              answer(loaded, lines, options);
              out().flush();
            });
      }
    }
    out().flush();
    return ExitCode.DONE;
  }

  private EmbeddingOptions options(EmbeddingOptions published) {
    return new EmbeddingOptions(
        pooling == null ? published.pooling() : pooling,
        normalize == null ? published.normalized() : normalize,
        maxLength == null ? published.maxLength() : maxLength);
  }

  private void answer(BertModel loaded, List<String> batch, EmbeddingOptions options) {
    List<float[]> vectors = loaded.embed(batch, options);
    for (int i = 0; i < vectors.size(); i++) {
      out().append(json ? line(batch.get(i), vectors.get(i)) : plain(vectors.get(i))).append('\n');
    }
  }

  private static String plain(float[] vector) {
    StringBuilder line = new StringBuilder();
    for (float x : vector) {
      line.append(line.isEmpty() ? "" : " ").append(x);
    }
    return line.toString();
  }

  private static String line(String text, float[] vector) {
    ObjectNode line = Json.object().put("text", text);
    ArrayNode numbers = line.putArray("embedding");
    for (float x : vector) {
      numbers.add(x);
    }
    return Json.line(line);
  }
}
