package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Lora;
import dev.graft.train.TrainingOptions;
import picocli.CommandLine.Option;

/** Low-rank adaptation; see {@link Lora}. */
final class LoraFlags {
  @Option(
      names = "--lora",
      paramLabel = "RANK",
      order = 145,
      description =
          "Freeze the weights and train low-rank matrices beside them (LoRA), and the head. The run"
              + " ends with the merged model in model/ and PEFT's files in adapter/.")
  Integer rank;

  @Option(
      names = "--lora-alpha",
      paramLabel = "A",
      order = 146,
      description = "Scale: A / RANK is the factor of what is added (default: twice the rank).")
  Double alpha;

  @Option(
      names = "--lora-dropout",
      paramLabel = "P",
      order = 147,
      description = "Dropout in front of the matrices (default: 0).")
  Double dropout;

  @Option(
      names = "--lora-targets",
      paramLabel = "NAMES",
      split = ",",
      order = 148,
      description =
          "Linear layers by the end of their names, or all-linear (default: query,value; GPT-2:"
              + " c_attn).")
  String[] targets;

  @Option(
      names = "--lora-modules-to-save",
      paramLabel = "NAMES",
      split = ",",
      order = 149,
      description = "Modules that train as a whole (default: a classifier's head and pooler).")
  String[] modulesToSave;

  @Option(
      names = "--rslora",
      order = 149,
      description = "Scale by A / √RANK instead (rank-stabilised LoRA).")
  boolean rankStabilised;

  /** The recipe with what was given. */
  TrainingOptions.Builder over(TrainingOptions.Builder recipe) {
    if (rank == null) {
      if (alpha != null
          || dropout != null
          || targets != null
          || modulesToSave != null
          || rankStabilised) {
        throw new InvalidInputException("--lora: the rank is missing");
      }
      return recipe;
    }
    try {
      Lora lora = Lora.rank(rank).rankStabilised(rankStabilised);
      lora = alpha == null ? lora : lora.alpha(alpha);
      lora = dropout == null ? lora : lora.dropout(dropout);
      lora = targets == null ? lora : lora.targets(targets);
      lora = modulesToSave == null ? lora : lora.modulesToSave(modulesToSave);
      return recipe.lora(lora);
    } catch (IllegalArgumentException e) {
      throw new InvalidInputException("--" + e.getMessage(), e);
    }
  }
}
