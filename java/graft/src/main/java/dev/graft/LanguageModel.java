package dev.graft;

import dev.graft.data.Corpus;
import dev.graft.train.CorpusOptions;
import dev.graft.train.CorpusTraining;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.util.Map;

/** A model that is trained on plain text by the objective of its kind. */
public abstract sealed class LanguageModel extends PreTrainedModel
    permits GPT2LMHeadModel, BertForMaskedLM, BertForPreTraining {

  LanguageModel(Parts parts) {
    super(parts);
  }

  /**
   * Trains on a corpus by {@link TrainingOptions#finetuning()} and {@link
   * CorpusOptions#defaults()}.
   *
   * @param validation what the loss is taken on at the end; may be null
   */
  public FitResult fit(Corpus train, Corpus validation) {
    return fit(train, validation, CorpusOptions.defaults(), TrainingOptions.finetuning().build());
  }

  /** Trains on a corpus by {@link CorpusOptions#defaults()}. */
  public FitResult fit(Corpus train, Corpus validation, TrainingOptions options) {
    return fit(train, validation, CorpusOptions.defaults(), options);
  }

  /**
   * Trains on a corpus. With validation data the model holds the best weights afterwards, or the
   * last ones if the options say so ({@link dev.graft.train.Selection}).
   *
   * @param validation what the loss is taken on, every {@code evalEvery} steps and at the end;
   *     null: {@link CorpusOptions#validationShare()} of the corpus, or none
   * @throws dev.graft.io.InvalidInputException if a corpus, the options and the model do not fit
   *     together, or the run directory cannot be used
   * @throws IllegalStateException if another call is using the model
   */
  public FitResult fit(
      Corpus train, Corpus validation, CorpusOptions corpusOptions, TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      become(config(), network().task(), options.dtype(), options.seed());
      try {
        TrainingResult result =
            CorpusTraining.run(network(), tokenizer(), train, validation, corpusOptions, options);
        return new FitResult(result, 0, labels());
      } finally {
        network().disableTraining();
      }
    }
  }

  /**
   * The mean loss over a whole corpus and its perplexity: {@code loss}, {@code perplexity}, {@code
   * tokens} and for BERT's pretraining both losses apart.
   */
  public Map<String, Double> evaluate(Corpus corpus) {
    return evaluate(corpus, CorpusOptions.defaults());
  }

  /** As {@link #evaluate(Corpus)}, with another length of context or part that is masked. */
  public Map<String, Double> evaluate(Corpus corpus, CorpusOptions corpusOptions) {
    try (Gate.Use use = gate().read("evaluate")) {
      synchronized (network().device()) {
        return CorpusTraining.evaluate(network(), tokenizer(), corpus, corpusOptions);
      }
    }
  }
}
