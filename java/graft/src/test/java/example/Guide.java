package example;

import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.FitResult;
import dev.graft.Predictor;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Task;
import dev.graft.train.CancellationToken;
import dev.graft.train.CorpusOptions;
import dev.graft.train.Pretraining;
import dev.graft.train.PretrainingSettings;
import dev.graft.train.TokenizerSettings;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;

/** The code of docs/guides/java.md, so that it compiles. */
final class Guide {
  private Guide() {}

  static FitResult training(
      BertForSequenceClassification model, Dataset train, Dataset validation) {
    CancellationToken stop = new CancellationToken();
    TrainingOptions options =
        TrainingOptions.finetuning()
            .epochs(5)
            .learningRate(3e-5)
            .evalEvery(100)
            .runDirectory(Path.of("runs/reviews"))
            .cancellation(stop)
            .build();
    FitResult result = model.fit(train, validation, options);
    return result;
  }

  static void pretraining() {
    PretrainingSettings settings =
        PretrainingSettings.fresh(
            Gpt2Config.of(1, 256, 384, 6, 6), // the vocabulary's size comes from the tokenizer
            Task.CAUSAL_LM,
            TokenizerSettings.train(TokenizerSettings.Kind.BPE, 8000),
            Corpus.of(Path.of("corpus.txt")).documents(DocumentMode.BLANK_LINE),
            TrainingOptions.pretraining().epochs(2).runDirectory(Path.of("runs/gpt")).build());
    Pretraining.run(settings.withCorpusOptions(CorpusOptions.defaults().withValidationShare(0.05)));
    Pretraining.resume(Path.of("runs/gpt"), TrainingListener.NONE, new CancellationToken());
  }

  static void threads(BertForSequenceClassification model, List<String> texts) {
    try (Predictor mine = model.predictor(1)) { // one CPU thread
      mine.predict(texts);
    }
  }
}
