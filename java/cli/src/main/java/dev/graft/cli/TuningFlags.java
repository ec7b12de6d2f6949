package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Option;

/**
 * Which layers a fine-tuning changes, and how fast; which weights it ends with, and when. See
 * {@link dev.graft.train.Tuning} and {@link dev.graft.train.Selection}.
 */
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

  @Option(
      names = "--patience",
      paramLabel = "N",
      order = 150,
      description = "Stop after N evaluations in a row without a gain (default: never).")
  Integer patience;

  @Option(
      names = "--min-delta",
      paramLabel = "D",
      order = 151,
      description = "What counts as a gain: more than D (default: 0).")
  Double minDelta;

  @Option(
      names = "--metric",
      paramLabel = "NAME",
      order = 152,
      description = "What the best model is told by (default: the task's main metric).")
  String metric;

  @Option(
      names = "--keep-last",
      order = 153,
      description = "End with the last weights instead of the best on the validation data.")
  boolean keepLast;

  @Option(
      names = "--class-weights",
      paramLabel = "W",
      split = ",",
      order = 143,
      description =
          "balanced: rare classes weigh as much as frequent ones; or weights by name, such as"
              + " spam=5,ham=1 (those not named: 1).")
  List<String> classWeights;

  @Option(
      names = "--label-smoothing",
      paramLabel = "E",
      order = 144,
      description = "Part of a target's probability spread over all classes (default: 0).")
  Double labelSmoothing;

  @Option(
      names = "--adapt-on",
      paramLabel = "FILE",
      arity = "1..*",
      order = 155,
      description =
          "Texts of the field, unlabelled: the model reads them first, by masked words (see"
              + " --documents for what a text is).")
  List<Path> adaptOn;

  @Option(
      names = "--adapt-epochs",
      paramLabel = "N",
      order = 156,
      description = "Passes over them (default: 3).")
  Double adaptEpochs;

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
      recipe.unfreezeEvery(every("--unfreeze-every", unfreezeEvery));
    }
    if (keepLast) {
      recipe.loadBest(false);
    }
    if (metric != null) {
      recipe.metric(metric);
    }
    if (classWeights != null) {
      weigh(recipe);
    }
    try {
      recipe.labelSmoothing(labelSmoothing == null ? 0 : labelSmoothing);
      recipe.patience(patience == null ? 0 : patience).minDelta(minDelta == null ? 0 : minDelta);
    } catch (IllegalArgumentException e) {
      throw new InvalidInputException(e.getMessage(), e);
    }
    return recipe;
  }

  private void weigh(TrainingOptions.Builder recipe) {
    if (classWeights.equals(List.of("balanced"))) {
      recipe.balanced(true);
      return;
    }
    Map<String, Double> weights = new LinkedHashMap<>();
    for (String item : classWeights) {
      int at = item.lastIndexOf('=');
      try {
        weights.put(item.substring(0, Math.max(0, at)), Double.valueOf(item.substring(at + 1)));
      } catch (NumberFormatException e) {
        at = -1;
      }
      if (at < 1) {
        throw new InvalidInputException(
            "--class-weights: expected balanced or NAME=WEIGHT, got " + item);
      }
    }
    recipe.classWeights(weights);
  }

  /** A number of steps, or −1 for each epoch. */
  static long every(String option, String text) {
    if (text.equals("epoch")) {
      return -1;
    }
    if (!text.matches("\\d{1,9}")) {
      throw new InvalidInputException(
          option + ": expected a number of steps or epoch, got " + text);
    }
    return Long.parseLong(text);
  }
}
