package dev.graft.bench;

import dev.graft.io.InvalidInputException;
import dev.graft.model.ModelConfig;
import dev.graft.model.Presets;
import dev.graft.runtime.DType;
import picocli.CommandLine.Option;

/** Options that say which model a step trains. */
class ModelShape {
  private static final int GPT2_VOCABULARY = 50257;
  private static final int BERT_VOCABULARY = 30522;

  @Option(
      names = "--model",
      description = "gpt2-SIZE or bert-SIZE, as pretrain knows them (default: ${DEFAULT-VALUE}).",
      defaultValue = "gpt2-small")
  String model;

  @Option(
      names = "--tokens",
      description = "Tokens of a sequence (default: the model's positions).",
      defaultValue = "0")
  int tokens;

  @Option(names = "--dtype", description = "fp32 or bf16.", defaultValue = "bf16")
  String dtype;

  /** With the vocabulary of the published models. */
  ModelConfig config() {
    int dash = model.indexOf('-');
    String family = dash < 0 ? model : model.substring(0, dash);
    if (dash < 0 || !(family.equals("gpt2") || family.equals("bert"))) {
      throw new InvalidInputException(
          "--model: expected gpt2-SIZE or bert-SIZE, got '" + model + "'");
    }
    return Presets.of(family, model.substring(dash + 1))
        .withVocabSize(family.equals("gpt2") ? GPT2_VOCABULARY : BERT_VOCABULARY);
  }

  /** Tokens of a sequence where its length is not said. */
  int length() {
    return tokens == 0 ? config().maxPositions() : tokens;
  }

  DType type() {
    return DType.parse(dtype);
  }
}
