package dev.graft.cli;

import dev.graft.PreTrainedModel;
import dev.graft.data.Corpus;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Presets;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Pretraining;
import dev.graft.train.PretrainingSettings;
import dev.graft.train.TokenizerSettings;
import dev.graft.train.TokenizerSettings.Kind;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft pretrain}. */
@Command(
    name = "pretrain",
    description =
        "Trains a GPT-2 (next token) or BERT (masked words) on text files, from new weights or on"
            + " from a model's. Ctrl-C saves a checkpoint and says how to go on.",
    footer = {
      "Sizes: gpt2 micro, mini, small (124M), medium, large, xl;",
      "       bert tiny, mini, small, medium, base (110M), large.",
      "",
      "Examples:",
      "  graft pretrain --type gpt2 --size micro --tokenizer-type char \\",
      "      --train shakespeare.txt --steps 2000 --out runs/gpt",
      "  graft pretrain --type bert --nsp --size mini --documents blank-line \\",
      "      --train wiki.txt --valid held-out.txt --epochs 10 --out runs/bert",
      "  graft pretrain --out runs/bert --resume"
    })
final class PretrainCommand extends RunCommand {
  enum Type {
    GPT2,
    BERT
  }

  enum TokenizerType {
    BPE(Kind.BPE),
    WORDPIECE(Kind.WORDPIECE),
    CHAR(Kind.CHARACTER);

    final Kind kind;

    TokenizerType(Kind kind) {
      this.kind = kind;
    }
  }

  private static final int USUAL_VOCABULARY = 8192;

  @Option(
      names = "--type",
      paramLabel = "TYPE",
      order = 1,
      description = "gpt2 or bert (default: that of --model or --config).")
  Type type;

  @Option(names = "--nsp", order = 2, description = "bert: also learn next sentences.")
  boolean nextSentence;

  @Option(
      names = "--train",
      paramLabel = "FILE",
      arity = "1..*",
      order = 3,
      description = "UTF-8 text files to train on.")
  List<Path> train;

  @Option(
      names = "--valid",
      paramLabel = "FILE",
      arity = "1..*",
      order = 4,
      description = "Text files to take the loss on.")
  List<Path> valid;

  @Option(
      names = "--valid-share",
      paramLabel = "P",
      order = 5,
      description = "Without --valid: part of the text's end held back (default: 0.05).")
  Double validShare;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      order = 30,
      description =
          "Go on from a model's weights, with its tokenizer: a directory, or a name on a hub.")
  Path model;

  @Option(
      names = "--size",
      paramLabel = "NAME",
      order = 31,
      description = "Shape by name, see below (default: gpt2 micro, bert tiny).")
  String size;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      order = 32,
      description = "Shape by a config.json in the Hugging Face form.")
  Path config;

  @Option(
      names = "--layers",
      paramLabel = "N",
      order = 33,
      description = "Layers, instead of the size's.")
  Integer layers;

  @Option(
      names = "--heads",
      paramLabel = "N",
      order = 34,
      description = "Attention heads; divides --channels.")
  Integer heads;

  @Option(
      names = "--channels",
      paramLabel = "N",
      order = 35,
      description = "Width of the hidden states.")
  Integer channels;

  @Option(
      names = "--positions",
      paramLabel = "N",
      order = 36,
      description = "Longest sequence of the model (default: the size's, or --context).")
  Integer positions;

  @Option(
      names = "--dropout",
      paramLabel = "P",
      order = 37,
      description = "Dropout (default: gpt2 0, bert 0.1; of --config and --model its own).")
  Double dropout;

  @Option(
      names = "--tokenizer",
      paramLabel = "DIR",
      order = 40,
      description =
          "Tokenizer to use, by its directory or name on a hub; without it one is trained on --train.")
  Path tokenizer;

  @Option(
      names = "--tokenizer-type",
      paramLabel = "TYPE",
      order = 41,
      description = "To train: bpe, wordpiece or char (default: gpt2 bpe, bert wordpiece).")
  TokenizerType tokenizerType;

  @Option(
      names = "--vocab-size",
      paramLabel = "N",
      order = 42,
      description = "To train: tokens (default: 8192; of char: all characters).")
  Integer vocabSize;

  @Option(
      names = "--cased",
      order = 43,
      description = "To train wordpiece: keep upper case and accents.")
  boolean cased;

  @Mixin CorpusFlags text;

  @Override
  public Integer call() {
    if (onlyResumes()) {
      return run((listener, token) -> Pretraining.resume(resumed(), listener, token));
    }
    PretrainingSettings settings = settings();
    return run(
        (listener, token) ->
            Pretraining.run(settings.withTraining(heard(settings.training(), listener, token))));
  }

  private PretrainingSettings settings() {
    if (train == null) {
      throw new InvalidInputException("--train: the text files to train on are missing");
    }
    if (valid != null && validShare != null) {
      throw new InvalidInputException("--valid and --valid-share: give one of them");
    }
    ModelConfig shape = model == null ? shape() : null;
    Task task = task(shape);
    DType dtype;
    try (Device device = compute.open()) {
      dtype = compute.dtype(device);
    }
    Corpus corpus = text.corpus(train);
    double share = valid != null ? 0 : validShare == null ? 0.05 : validShare;
    return new PretrainingSettings(
        shape,
        task,
        model,
        model == null ? tokenizer(task) : null,
        corpus,
        valid == null ? null : text.corpus(valid),
        text.options(share),
        training.over(TrainingOptions.pretraining().device(compute.device()), dtype).build(),
        compute.threads);
  }

  private Task task(ModelConfig shape) {
    boolean bert = model == null ? shape instanceof BertConfig : !Models.isGpt2(model);
    if (type != null && bert != (type == Type.BERT)) {
      throw InvalidInputException.of(
          model == null ? config : model, "is not a " + (bert ? "gpt2" : "bert"));
    }
    if (nextSentence && !bert) {
      throw new InvalidInputException("--nsp: only a bert learns next sentences");
    }
    if (model != null && !nextSentence && PreTrainedModel.taskOf(model) == Task.PRETRAINING) {
      return Task.PRETRAINING;
    }
    return !bert ? Task.CAUSAL_LM : nextSentence ? Task.PRETRAINING : Task.MASKED_LM;
  }

  private ModelConfig shape() {
    if (config != null) {
      if (size != null || layers != null || heads != null || channels != null) {
        throw new InvalidInputException(
            "--config fixes the shape: no --size or --layers beside it");
      }
      ModelConfig read = ModelConfig.fromJson(config, Json.readObject(config));
      return dropout == null ? read : read.withDropout(dropout, dropout, dropout);
    }
    if (type == null) {
      throw new InvalidInputException(
          "--type: expected gpt2 or bert (or give --config or --model)");
    }
    boolean gpt = type == Type.GPT2;
    String name = size != null ? size : gpt ? "micro" : "tiny";
    ModelConfig preset = Presets.of(gpt ? "gpt2" : "bert", name);
    int width = or(channels, preset.channels());
    int length =
        or(positions, Math.max(text.context, text.context > 0 ? 0 : preset.maxPositions()));
    int depth = or(layers, preset.layers());
    int parts = or(heads, preset.heads());
    double drop = dropout != null ? dropout : gpt ? 0 : 0.1;
    ModelConfig shape =
        gpt
            ? Gpt2Config.of(preset.vocabSize(), length, width, depth, parts)
            : BertConfig.of(preset.vocabSize(), length, width, depth, parts, 4 * width);
    return shape.withDropout(drop, drop, drop);
  }

  private static int or(Integer given, int otherwise) {
    if (given != null && given < 1) {
      throw new InvalidInputException("a shape's numbers are positive, got " + given);
    }
    return given == null ? otherwise : given;
  }

  private TokenizerSettings tokenizer(Task task) {
    if (tokenizer != null) {
      if (tokenizerType != null || vocabSize != null || cased) {
        throw new InvalidInputException(
            "--tokenizer is given: --tokenizer-type, --vocab-size and --cased are for one to train");
      }
      return TokenizerSettings.from(tokenizer);
    }
    Kind kind =
        tokenizerType != null
            ? tokenizerType.kind
            : task == Task.CAUSAL_LM ? Kind.BPE : Kind.WORDPIECE;
    int vocabulary = vocabSize != null ? vocabSize : kind == Kind.CHARACTER ? 0 : USUAL_VOCABULARY;
    return new TokenizerSettings(null, kind, vocabulary, 2, !cased);
  }
}
