package dev.graft.train;

import dev.graft.data.BatchSource;
import dev.graft.data.CausalEvalSource;
import dev.graft.data.CausalSource;
import dev.graft.data.Corpus;
import dev.graft.data.MaskedSource;
import dev.graft.data.Masking;
import dev.graft.data.TokenRange;
import dev.graft.data.TokenShards;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Trains a language model on a corpus by the objective of its task: the next token (GPT-2), masked
 * words (BERT), masked words and next sentences (BERT's pretraining). The corpus is encoded once
 * into token shards, in {@code data/} of the run directory or in a temporary folder. A resumed run
 * goes on with the shards it began with. Of several processes each encodes it for itself, rank 0
 * alone into the run directory.
 */
public final class CorpusTraining {
  /** Seed of the masks of an evaluation: the same in every run, so that losses compare. */
  private static final long EVALUATION_SEED = 0;

  private CorpusTraining() {}

  /**
   * Trains.
   *
   * @param network for {@link Task#CAUSAL_LM}, {@link Task#MASKED_LM} or {@link Task#PRETRAINING}
   * @param validation what the loss is taken on; null: {@link CorpusOptions#validationShare()} of
   *     the corpus, or none
   * @param options a batch has {@code tokensPerStep / context} sequences, or {@code batchSize}
   * @throws InvalidInputException if the corpus is too short, the context longer than the model, or
   *     the tokenizer not the model's
   */
  public static TrainingResult run(
      Network network,
      Tokenizer tokenizer,
      Corpus corpus,
      Corpus validation,
      CorpusOptions corpusOptions,
      TrainingOptions options) {
    Path directory = options.writableDirectory();
    Supplier<TrainingResult> run =
        () -> train(network, tokenizer, corpus, validation, corpusOptions, options);
    if (directory == null) {
      return run.get();
    }
    // Asked for before the data is written: the folder may hold another run's.
    if (options.resume()) {
      RunDirectory.open(directory, true).close();
      return run.get();
    }
    return RunDirectory.begin(directory, run);
  }

  private static TrainingResult train(
      Network network,
      Tokenizer tokenizer,
      Corpus corpus,
      Corpus validation,
      CorpusOptions corpusOptions,
      TrainingOptions options) {
    int context = context(network, tokenizer, corpusOptions);
    int batchSize =
        options.tokensPerStep() > 0
            ? Math.max(1, options.tokensPerStep() / context)
            : options.batchSize();
    int evalBatch = corpusOptions.evalBatchSize() > 0 ? corpusOptions.evalBatchSize() : batchSize;
    if (!options.resume()) {
      options.listener().onPrepare("encoding " + corpus);
    }
    try (ShardFolder folder = ShardFolder.of(options.writableDirectory(), options.resume());
        TokenShards train = folder.shards(corpus, tokenizer, "train");
        TokenShards held =
            validation == null ? null : folder.shards(validation, tokenizer, "validation")) {
      double share = held == null ? corpusOptions.validationShare() : 0;
      TokenRange trained = train.all().head(1 - share);
      TokenRange judged =
          held != null ? held.all() : share > 0 ? train.all().tail(1 - share) : null;
      BatchSource source =
          named(
              corpus,
              () ->
                  trainingSource(
                      network.task(),
                      trained,
                      tokenizer,
                      context,
                      batchSize,
                      corpusOptions,
                      options.seed()));
      try (Evaluator evaluator =
          judged == null
              ? null
              : new LossEvaluator(
                  named(
                      held != null ? validation : corpus,
                      () ->
                          evaluationSource(
                              network.task(),
                              judged,
                              tokenizer,
                              context,
                              evalBatch,
                              corpusOptions)))) {
        return new Trainer(network, source, tokenizer::savePretrained, evaluator, options).run();
      }
    }
  }

  /**
   * The loss over a whole corpus; see {@link LossEvaluator} for the metrics. Every token of a
   * corpus but the first is predicted once, in windows that do not overlap; masks are the same
   * every time.
   */
  public static Map<String, Double> evaluate(
      Network network, Tokenizer tokenizer, Corpus corpus, CorpusOptions corpusOptions) {
    int context = context(network, tokenizer, corpusOptions);
    int batchSize = corpusOptions.evalBatchSize() > 0 ? corpusOptions.evalBatchSize() : 8;
    try (ShardFolder folder = ShardFolder.of(null, false);
        TokenShards shards = folder.shards(corpus, tokenizer, "evaluation");
        LossEvaluator evaluator =
            new LossEvaluator(
                named(
                    corpus,
                    () ->
                        evaluationSource(
                            network.task(),
                            shards.all(),
                            tokenizer,
                            context,
                            batchSize,
                            corpusOptions)))) {
      return evaluator.evaluate(network);
    }
  }

  /** What is wrong with a text is told with its file. */
  private static BatchSource named(Corpus corpus, Supplier<BatchSource> source) {
    try {
      return source.get();
    } catch (InvalidInputException e) {
      throw new InvalidInputException(corpus + ": " + e.getMessage(), e);
    }
  }

  private static int context(Network network, Tokenizer tokenizer, CorpusOptions options) {
    int positions = network.config().maxPositions();
    if (options.contextLength() > positions) {
      throw new InvalidInputException(
          "a context of "
              + options.contextLength()
              + " tokens is longer than the model's "
              + positions
              + " positions");
    }
    if (tokenizer.vocabSize() > network.config().vocabSize()) {
      throw new InvalidInputException(
          "the tokenizer has "
              + tokenizer.vocabSize()
              + " tokens, the model knows "
              + network.config().vocabSize()
              + "; they do not belong together");
    }
    return options.contextLength() == 0 ? positions : options.contextLength();
  }

  private static BatchSource trainingSource(
      Task task,
      TokenRange tokens,
      Tokenizer tokenizer,
      int context,
      int batchSize,
      CorpusOptions options,
      long seed) {
    return task == Task.CAUSAL_LM
        ? new CausalSource(tokens, context, batchSize, options.packing(), options.sampling(), seed)
        : masked(task, tokens, tokenizer, context, batchSize, options, true, seed);
  }

  private static BatchSource evaluationSource(
      Task task,
      TokenRange tokens,
      Tokenizer tokenizer,
      int context,
      int batchSize,
      CorpusOptions options) {
    return task == Task.CAUSAL_LM
        ? new CausalEvalSource(tokens, context, batchSize)
        : masked(task, tokens, tokenizer, context, batchSize, options, false, EVALUATION_SEED);
  }

  private static BatchSource masked(
      Task task,
      TokenRange tokens,
      Tokenizer tokenizer,
      int context,
      int batchSize,
      CorpusOptions options,
      boolean shuffle,
      long seed) {
    if (task != Task.MASKED_LM && task != Task.PRETRAINING) {
      throw new IllegalArgumentException("a network for " + task + " has no language-model loss");
    }
    return new MaskedSource(
        tokens,
        tokenizer,
        new Masking(tokenizer, options.maskProbability()),
        context,
        batchSize,
        task == Task.PRETRAINING,
        shuffle,
        seed);
  }

  /** Where shards go: the run directory, or a folder that goes with the call. */
  private record ShardFolder(Path path, boolean temporary, boolean resume)
      implements AutoCloseable {
    static ShardFolder of(Path runDirectory, boolean resume) {
      if (runDirectory != null) {
        return new ShardFolder(runDirectory.resolve("data"), false, resume);
      }
      try {
        return new ShardFolder(Files.createTempDirectory("graft-tokens"), true, false);
      } catch (IOException e) {
        throw InvalidInputException.of(Path.of(System.getProperty("java.io.tmpdir")), e);
      }
    }

    /** Those the run began with if it is resumed, else new ones. */
    TokenShards shards(Corpus corpus, Tokenizer tokenizer, String name) {
      Path directory = path.resolve(name);
      if (resume && TokenShards.exists(directory)) {
        TokenShards found = TokenShards.open(directory);
        if (found.vocabulary().equals(tokenizer.fingerprint())) {
          return found;
        }
        found.close();
        throw InvalidInputException.of(
            directory, "these tokens were made by another tokenizer than the one given now");
      }
      return corpus.encode(tokenizer, directory);
    }

    @Override
    public void close() {
      if (temporary) {
        try {
          Durable.deleteTree(path);
        } catch (IOException e) {
          throw InvalidInputException.of(path, e);
        }
      }
    }
  }
}
