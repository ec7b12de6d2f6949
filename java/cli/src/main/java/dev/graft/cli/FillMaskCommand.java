package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForMaskedLM;
import dev.graft.BertForPreTraining;
import dev.graft.ModelOptions;
import dev.graft.apply.Prediction;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Task;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft fill-mask}. */
@Command(
    name = "fill-mask",
    description = "Prints the most probable words for each [MASK] of a text.",
    footer = {
      "Examples:",
      "  graft fill-mask --model runs/bert 'The capital of France is [MASK].'",
      "  graft fill-mask --model runs/bert --input texts.txt --top-k 3 --json"
    })
final class FillMaskCommand extends GraftCommand {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description =
          "Directory of a pretrained BERT, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts with [MASK] in them.")
  List<String> texts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description = "A text a line; - is standard input.")
  Path input;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      order = 3,
      description = "Words a mask (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  int topK;

  @Mixin ComputeOptions compute;

  @Option(
      names = "--json",
      order = 950,
      description = "A JSON line a text: for each mask an array of words and probabilities.")
  boolean json;

  /** The head of either kind of BERT. */
  private interface Filler {
    List<List<Prediction.Scored>> fill(String text, int k);
  }

  @Override
  public Integer call() {
    if ((input == null) == texts.isEmpty()) {
      throw new InvalidInputException("give texts with [MASK], or --input, and not both");
    }
    if (topK < 1) {
      throw new InvalidInputException("--top-k: expected at least 1, got " + topK);
    }
    Task task = Models.task(model);
    Models.require(
        model,
        "fill-mask",
        "BERT with its masked-word head",
        task == Task.MASKED_LM || task == Task.PRETRAINING);
    ModelOptions options = Models.options(compute);
    if (task == Task.PRETRAINING) {
      try (BertForPreTraining bert = BertForPreTraining.fromPretrained(model, options)) {
        fill(bert::fillMask);
      }
    } else {
      try (BertForMaskedLM bert = BertForMaskedLM.fromPretrained(model, options)) {
        fill(bert::fillMask);
      }
    }
    return ExitCode.DONE;
  }

  private void fill(Filler filler) {
    if (input == null) {
      texts.forEach(text -> answer(text, filler.fill(text, topK)));
      return;
    }
    try (LineReader lines = Inputs.lines(input)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        List<List<Prediction.Scored>> masks;
        try {
          masks = filler.fill(line, topK);
        } catch (InvalidInputException e) {
          throw InvalidInputException.ofLine(lines.source(), lines.number(), e.getMessage());
        }
        answer(line, masks);
      }
    }
  }

  private void answer(String text, List<List<Prediction.Scored>> masks) {
    if (json) {
      ObjectNode line = Json.object().put("text", text);
      ArrayNode all = line.putArray("masks");
      for (List<Prediction.Scored> mask : masks) {
        ArrayNode words = all.addArray();
        for (Prediction.Scored scored : mask) {
          words.addObject().put("word", scored.name()).put("probability", scored.probability());
        }
      }
      json(line);
      return;
    }
    out().println(text);
    for (int i = 0; i < masks.size(); i++) {
      if (masks.size() > 1) {
        out().printf("mask %d%n", i + 1);
      }
      for (Prediction.Scored scored : masks.get(i)) {
        out().printf("  %.4f  %s%n", scored.probability(), scored.name());
      }
    }
    out().flush();
  }
}
