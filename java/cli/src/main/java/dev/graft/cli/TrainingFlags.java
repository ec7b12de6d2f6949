package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Optimizer;
import dev.graft.model.Recompute;
import dev.graft.runtime.DType;
import dev.graft.train.Schedule;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/**
 * How a run trains. What is not given stays as the command's recipe has it ({@link
 * TrainingOptions#pretraining()} or {@link TrainingOptions#finetuning()}); the descriptions name
 * both.
 */
final class TrainingFlags {
  @Option(
      names = "--out",
      paramLabel = "RUN",
      required = true,
      order = 100,
      description = "Run directory: checkpoints, metrics.jsonl, loss.png, best/ and model/.")
  Path out;

  @Option(
      names = "--resume",
      order = 101,
      description = "Go on with the run in --out, by the settings it began with.")
  boolean resume;

  @Option(
      names = "--steps",
      paramLabel = "N",
      order = 110,
      description = "Optimizer steps, instead of --epochs.")
  Long steps;

  @Option(
      names = "--epochs",
      paramLabel = "N",
      order = 111,
      description = "Passes over the data (default: 1; finetune: 3 to 20, few data many).")
  Double epochs;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      order = 112,
      description = "Sequences a batch (default: 32; finetune: 8).")
  Integer batchSize;

  @Option(
      names = "--accumulate",
      paramLabel = "N",
      order = 113,
      description = "Batches an optimizer step (default: 1).")
  Integer accumulate;

  @Option(
      names = "--lr",
      paramLabel = "RATE",
      order = 114,
      description =
          "Peak learning rate (default: 6e-4; finetune: by the model's width, 5e-5 at 768 channels,"
              + " 7.3e-4 at 128; --lora: ten times that).")
  Double lr;

  @Option(
      names = "--min-lr",
      paramLabel = "RATE",
      order = 115,
      description = "Rate at the end (default: a tenth of --lr; finetune: 0).")
  Double minLr;

  @Option(
      names = "--schedule",
      paramLabel = "NAME",
      order = 116,
      description = "constant, linear or cosine (default: cosine; finetune: linear).")
  Schedule schedule;

  @Option(
      names = "--warmup",
      paramLabel = "W",
      order = 117,
      description =
          "Warm-up: steps, or a part of all steps if below 1 (default: 0.02; finetune: 0.1).")
  Double warmup;

  @Option(
      names = "--optimizer",
      paramLabel = "NAME",
      order = 117,
      description =
          "adamw, or lamb: steps as long as each parameter's weights, for batches of thousands"
              + " (default: adamw).")
  Optimizer optimizer;

  @Option(
      names = "--betas",
      paramLabel = "A,B",
      hideParamSyntax = true,
      split = ",",
      order = 118,
      description = "Adam's betas (default: 0.9,0.95; finetune: 0.9,0.999).")
  double[] betas;

  @Option(
      names = "--eps",
      paramLabel = "E",
      order = 119,
      description = "Adam's epsilon (default: 1e-8).")
  Double eps;

  @Option(
      names = "--weight-decay",
      paramLabel = "L",
      order = 120,
      description = "Decoupled weight decay (default: 0.1; finetune: 0.01).")
  Double weightDecay;

  @Option(
      names = "--decay-all",
      order = 121,
      description = "Decay biases and LayerNorm too, not matrices alone.")
  boolean decayAll;

  @Option(
      names = "--clip",
      paramLabel = "C",
      order = 122,
      description = "Largest gradient norm; 0 for no clipping (default: 1).")
  Double clip;

  @Option(
      names = "--seed",
      paramLabel = "N",
      order = 123,
      description = "Seed of weights, order, masks and dropout (default: 1337).")
  Long seed;

  @Option(
      names = "--optimizer-state",
      paramLabel = "TYPE",
      order = 117,
      description =
          "fp32, or bf16: moments of half the size, rounded at random, and with --dtype bf16 no fp32"
              + " copy of the weights but their low halves (default: fp32).")
  String optimizerState;

  @Option(
      names = "--recompute",
      paramLabel = "WHAT",
      order = 124,
      description =
          "Less memory for more time: none; activation, the outputs of norms and"
              + " GELU are computed again in the backward pass; or block, whole blocks are"
              + " (default: none; a resume may change it).")
  Recompute recompute;

  @Option(
      names = "--fp8",
      order = 125,
      description =
          "Products of the blocks' linear layers in 8-bit floats, beside --dtype bf16; for cards of"
              + " compute capability 8.9 or later.")
  boolean fp8;

  @Option(
      names = "--log-every",
      paramLabel = "N",
      order = 130,
      description = "Steps between reports (default: 10).")
  Integer logEvery;

  @Option(
      names = "--eval-every",
      paramLabel = "N",
      order = 131,
      description =
          "Steps between evaluations, or epoch; 0: at the end alone (default: 500; finetune:"
              + " epoch).")
  String evalEvery;

  @Option(
      names = "--save-every",
      paramLabel = "N",
      order = 132,
      description = "Steps between checkpoints; 0: at the end alone (default: 500).")
  Long saveEvery;

  @Option(
      names = "--keep",
      paramLabel = "N",
      order = 133,
      description = "Checkpoints kept (default: 2).")
  Integer keep;

  private static final int EVERY = 500;

  /** The recipe with what was given. */
  TrainingOptions.Builder over(TrainingOptions.Builder recipe, DType dtype) {
    if (steps != null && epochs != null) {
      throw new InvalidInputException("--steps and --epochs: give one of them");
    }
    if (betas != null && betas.length != 2) {
      throw new InvalidInputException("--betas: expected two numbers, A,B");
    }
    recipe.runDirectory(out).resume(resume).dtype(dtype).decayAll(decayAll).fp8(fp8);
    recipe.saveEvery(EVERY);
    if (recipe.build().evalEvery() >= 0) {
      recipe.evalEvery(EVERY);
    }
    set(steps, recipe::steps);
    set(epochs, recipe::epochs);
    set(batchSize, recipe::batchSize);
    set(accumulate, recipe::gradientAccumulation);
    set(schedule, recipe::schedule);
    set(optimizer, recipe::optimizer);
    set(recompute, recipe::recompute);
    set(optimizerState == null ? null : DType.parse(optimizerState), recipe::optimizerState);
    set(eps, recipe::eps);
    set(weightDecay, recipe::weightDecay);
    set(clip, recipe::clip);
    set(seed, recipe::seed);
    set(logEvery, recipe::logEvery);
    if (evalEvery != null) {
      recipe.evalEvery(TuningFlags.every("--eval-every", evalEvery));
    }
    set(saveEvery, recipe::saveEvery);
    set(keep, recipe::keepCheckpoints);
    if (betas != null) {
      recipe.beta1(betas[0]).beta2(betas[1]);
    }
    if (warmup != null) {
      warmUp(recipe);
    }
    rates(recipe);
    return recipe;
  }

  private void warmUp(TrainingOptions.Builder recipe) {
    if (warmup > 0 && warmup < 1) {
      recipe.warmupRatio(warmup);
    } else if (warmup == Math.rint(warmup)) {
      recipe.warmupSteps(warmup.longValue());
    } else {
      throw new InvalidInputException(
          "--warmup: expected whole steps or a part below 1, got " + warmup);
    }
  }

  /** The rate at the end keeps its part of the peak unless it is given. */
  private void rates(TrainingOptions.Builder recipe) {
    TrainingOptions before = recipe.build();
    double peak = lr == null ? before.learningRate() : lr;
    if (lr != null && lr <= 0) {
      throw new InvalidInputException("--lr: expected a rate above 0, got " + lr);
    }
    double part =
        before.minLearningRate() == 0 ? 0 : before.minLearningRate() / before.learningRate();
    recipe.learningRate(peak).minLearningRate(minLr == null ? part * peak : minLr);
  }

  private interface Setter<T> {
    Object to(T value);
  }

  private static <T> void set(T value, Setter<T> setter) {
    if (value != null) {
      setter.to(value);
    }
  }
}
