package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.train.TrainingOptions;
import java.util.List;
import picocli.CommandLine.Option;

/** Which layers a fine-tuning changes, and how fast; see {@link dev.graft.train.Tuning}. */
final class TuningFlags {
  @Option(
      names = "--layer-decay",
      paramLabel = "D",
      order = 140,
      description =
          "Factor of the learning rate from each layer to the one below it, such as 0.9 (default: 1,"
              + " the same in all).")
  Double layerDecay;

  @Option(
      names = "--freeze",
      paramLabel = "WHAT",
      split = ",",
      order = 141,
      description =
          "What keeps its weights: embeddings, encoder (all but the head), a number N (embeddings"
              + " and the first N layers), or names of tensors with * for any text.")
  List<String> freeze;

  @Option(
      names = "--unfreeze-every",
      paramLabel = "N",
      order = 142,
      description =
          "Train the head first and let the next layer below join every N steps, or each epoch"
              + " (N: epoch).")
  String unfreezeEvery;

  /** The recipe with what was given. */
  TrainingOptions.Builder over(TrainingOptions.Builder recipe) {
    if (layerDecay != null) {
      if (!(layerDecay > 0 && layerDecay <= 1)) {
        throw new InvalidInputException(
            "--layer-decay: expected above 0 and at most 1, got " + layerDecay);
      }
      recipe.layerDecay(layerDecay);
    }
    if (freeze != null) {
      recipe.freeze(freeze.toArray(new String[0]));
    }
    if (unfreezeEvery != null) {
      recipe.unfreezeEvery(steps(unfreezeEvery));
    }
    return recipe;
  }

  private static long steps(String text) {
    if (text.equals("epoch")) {
      return -1;
    }
    if (!text.matches("[1-9]\\d{0,8}")) {
      throw new InvalidInputException(
          "--unfreeze-every: expected a number of steps or epoch, got " + text);
    }
    return Long.parseLong(text);
  }
}
