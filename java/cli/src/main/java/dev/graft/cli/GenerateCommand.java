package dev.graft.cli;

import dev.graft.GPT2LMHeadModel;
import dev.graft.apply.BeamOptions;
import dev.graft.apply.GenerationOptions;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptTemplate;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft generate}. */
@Command(
    name = "generate",
    description = "Lets a GPT-2 write on from a prompt; the text appears as it is written.",
    footer = {
      "Examples:",
      "  graft generate --model runs/gpt 'Shall I compare thee'",
      "  graft generate --model runs/gpt --temperature 0.8 --top-k 40 --samples 3 'O Romeo'",
      "  graft generate --model runs/gpt --beams 4 --max-tokens 40 'My lord,'",
      "  graft generate --model runs/gpt --greedy --input prompts.txt --json"
    })
final class GenerateCommand extends GraftCommand {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a GPT-2, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(
      paramLabel = "PROMPT",
      arity = "0..*",
      description = "Prompts; without one the model begins itself.")
  List<String> prompts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description = "A prompt a line; - is standard input.")
  Path input;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      order = 3,
      description = "Most tokens to write (default: ${DEFAULT-VALUE}).",
      defaultValue = "200")
  int maxTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      order = 4,
      description = "Below 1 more certain, above 1 bolder (default: 1).")
  Double temperature;

  @Option(names = "--greedy", order = 5, description = "Always the most probable token.")
  boolean greedy;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      order = 6,
      description = "Draw among the K most probable tokens; 0 for all (default: ${DEFAULT-VALUE}).",
      defaultValue = "0")
  int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      order = 7,
      description = "Draw among the most probable that reach P together (default: 1).",
      defaultValue = "1")
  double topP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "R",
      order = 8,
      description = "Above 1 tokens that occurred become less probable (default: 1).",
      defaultValue = "1")
  double repetitionPenalty;

  @Option(
      names = "--beams",
      paramLabel = "N",
      order = 8,
      description = "Search the most probable text with N beams instead of drawing.")
  Integer beams;

  @Option(
      names = "--length-penalty",
      paramLabel = "L",
      order = 8,
      description = "Beams: above 0 favours long texts, below 0 short ones (default: 1).")
  Double lengthPenalty;

  @Option(
      names = "--early-stopping",
      paramLabel = "WHEN",
      order = 8,
      description =
          "Beams: end when as many texts have ended (full), no beam is likely to be better"
              + " (unlikely), or none can be (impossible) (default: unlikely).")
  BeamOptions.Ending earlyStopping;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      order = 9,
      description =
          "Prompts of --input written side by side; they appear when whole (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int batchSize;

  @Option(
      names = "--samples",
      paramLabel = "N",
      order = 9,
      description = "Texts a prompt (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int samples;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      order = 10,
      description = "End before this text; may be given more than once.")
  List<String> stop = List.of();

  @Option(
      names = "--seed",
      paramLabel = "N",
      order = 11,
      description = "Seed of the draws, for the same text again (default: another each time).")
  Long seed;

  @Option(
      names = "--raw",
      order = 12,
      description =
          "Write on from the text itself, also with a model that was taught instructions in a"
              + " template.")
  boolean raw;

  @Mixin ComputeOptions compute;

  @Option(
      names = "--json",
      order = 950,
      description = "A JSON line a text: prompt, text, seed; nothing appears before it is whole.")
  boolean json;

  @Override
  public Integer call() {
    if (input != null && !prompts.isEmpty()) {
      throw new InvalidInputException("give prompts or --input, not both");
    }
    if (samples < 1) {
      throw new InvalidInputException("--samples: expected at least 1, got " + samples);
    }
    if (batchSize < 1) {
      throw new InvalidInputException("--batch-size: expected at least 1, got " + batchSize);
    }
    if (beams == null && (lengthPenalty != null || earlyStopping != null)) {
      throw new InvalidInputException("--length-penalty and --early-stopping need --beams");
    }
    if (beams != null && (temperature != null || topK != 0 || topP != 1 || samples > 1)) {
      throw new InvalidInputException(
          "--beams searches and does not draw: --temperature, --top-k, --top-p and --samples are"
              + " for drawing");
    }
    Models.require(model, "generate", "GPT-2", Models.isGpt2(model));
    long first = seed != null ? seed : ThreadLocalRandom.current().nextInt(Integer.MAX_VALUE);
    options(first); // refuses before the model is read
    try (GPT2LMHeadModel loaded = GPT2LMHeadModel.fromPretrained(model, Models.options(compute))) {
      if (input == null) {
        for (String prompt : prompts.isEmpty() ? List.of("") : prompts) {
          write(loaded, prompt, first);
        }
        return ExitCode.DONE;
      }
      Inputs.batches(input, batchSize, lines -> batch(loaded, lines, first));
    }
    return ExitCode.DONE;
  }

  private GenerationOptions options(long drawn) {
    boolean certain = greedy || beams != null;
    double bold = temperature == null ? 1 : temperature;
    GenerationOptions options =
        new GenerationOptions(
            maxTokens, certain ? 0 : bold, topK, topP, repetitionPenalty, drawn, stop);
    return beams == null
        ? options
        : options.withBeams(
            new BeamOptions(
                beams,
                lengthPenalty == null ? 1 : lengthPenalty,
                earlyStopping == null ? BeamOptions.Ending.UNLIKELY : earlyStopping));
  }

  /** Several prompts side by side, or one that appears as it is written. */
  private void batch(GPT2LMHeadModel loaded, List<String> batch, long first) {
    if (batchSize == 1) {
      batch.forEach(prompt -> write(loaded, prompt, first));
      return;
    }
    for (int i = 0; i < samples; i++) {
      List<String> texts =
          !answers(loaded)
              ? loaded.generate(batch, options(first + i))
              : loaded.complete(
                  batch.stream().map(prompt -> new PromptExample(prompt, null)).toList(),
                  options(first + i));
      for (int p = 0; p < texts.size(); p++) {
        if (json) {
          line(batch.get(p), texts.get(p), first + i);
        } else {
          out().println(asked(loaded, batch.get(p)) + texts.get(p));
        }
      }
    }
    out().flush();
  }

  private void line(String prompt, String text, long drawn) {
    json(Json.object().put("prompt", prompt).put("text", text).put("seed", drawn));
  }

  /**
   * Whether prompts stand in a template, so that what is written is an answer, not more of them.
   */
  private boolean answers(GPT2LMHeadModel loaded) {
    return !raw && !loaded.promptTemplate().equals(PromptTemplate.PLAIN);
  }

  /** What is shown before the text: a prompt that it goes on from. */
  private String asked(GPT2LMHeadModel loaded, String prompt) {
    return answers(loaded) ? "" : prompt;
  }

  private String text(
      GPT2LMHeadModel loaded, String prompt, GenerationOptions how, Consumer<String> stream) {
    return answers(loaded)
        ? loaded.respond(prompt, null, how, stream)
        : loaded.generate(prompt, how, stream);
  }

  private void write(GPT2LMHeadModel loaded, String prompt, long first) {
    for (int i = 0; i < samples; i++) {
      long drawn = first + i;
      if (json) {
        line(prompt, text(loaded, prompt, options(drawn), piece -> {}), drawn);
      } else {
        out().print(asked(loaded, prompt));
        out().flush();
        text(
            loaded,
            prompt,
            options(drawn),
            piece -> {
              out().print(piece);
              out().flush();
            });
        out().println();
      }
    }
  }
}
