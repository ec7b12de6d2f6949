package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.GPT2LMHeadModel;
import dev.graft.apply.BeamOptions;
import dev.graft.apply.GenerationOptions;
import dev.graft.data.PromptData;
import dev.graft.data.PromptExample;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft summarize}. */
@Command(
    name = "summarize",
    description =
        "Lets a GPT-2 summarise documents, best one that finetune --task summarize made. Of any"
            + " other it prints what it writes behind 'TL;DR:'.",
    footer = {
      "Examples:",
      "  graft summarize --model runs/news --input articles.jsonl --json",
      "  graft summarize --model runs/news --max-tokens 30 'A long text …'"
    })
final class SummarizeCommand extends GraftCommand {
  private static final int BATCH = 8;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a GPT-2, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Documents.")
  List<String> texts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description =
          "Documents: field or column document of a .jsonl, .csv, .tsv or .parquet file; of any other"
              + " a line each; - is standard input.")
  Path input;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      order = 3,
      description = "Most tokens of a summary (default: ${DEFAULT-VALUE}).",
      defaultValue = "120")
  int maxTokens;

  @Option(
      names = "--beams",
      paramLabel = "N",
      order = 4,
      description =
          "Texts the search follows; 1 takes the most probable token each time (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "4")
  int beams;

  @Option(
      names = "--length-penalty",
      paramLabel = "L",
      order = 5,
      description = "Above 0 favours long summaries, below 0 short ones (default: 1).",
      defaultValue = "1")
  double lengthPenalty;

  @Mixin ComputeOptions compute;

  @Option(names = "--json", order = 950, description = "A JSON line a document: document, summary.")
  boolean json;

  @Override
  public Integer call() {
    if ((input == null) == texts.isEmpty()) {
      throw new InvalidInputException("give documents, or --input, and not both");
    }
    if (beams < 1) {
      throw new InvalidInputException("--beams: expected at least 1, got " + beams);
    }
    GenerationOptions greedy = GenerationOptions.greedy(maxTokens);
    GenerationOptions options =
        beams == 1
            ? greedy
            : greedy.withBeams(new BeamOptions(beams, lengthPenalty, BeamOptions.Ending.UNLIKELY));
    Models.require(model, "summarize", "GPT-2", Models.isGpt2(model));
    try (GPT2LMHeadModel loaded = GPT2LMHeadModel.fromPretrained(model, Models.options(compute))) {
      if (input == null) {
        answer(loaded, texts, options);
      } else if (PromptData.isReadable(input)) {
        List<String> documents =
            PromptData.readPrompts(input).stream().map(PromptExample::text).toList();
        for (int from = 0; from < documents.size(); from += BATCH) {
          int to = Math.min(from + BATCH, documents.size());
          answer(loaded, documents.subList(from, to), options);
        }
      } else {
        Inputs.batches(input, BATCH, lines -> answer(loaded, lines, options));
      }
    }
    return ExitCode.DONE;
  }

  private void answer(GPT2LMHeadModel loaded, List<String> batch, GenerationOptions options) {
    List<String> summaries = loaded.summarize(batch, options);
    for (int i = 0; i < summaries.size(); i++) {
      ObjectNode line =
          Json.object().put("document", batch.get(i)).put("summary", summaries.get(i));
      out().println(json ? Json.line(line) : summaries.get(i));
    }
    out().flush();
  }
}
