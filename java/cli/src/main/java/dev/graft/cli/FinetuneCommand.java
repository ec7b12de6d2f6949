package dev.graft.cli;

import dev.graft.Dataset;
import dev.graft.DomainAdaptation;
import dev.graft.FewLabels;
import dev.graft.FineTuning;
import dev.graft.ModelOptions;
import dev.graft.PromptTuning;
import dev.graft.TaskFineTuning;
import dev.graft.TextTask;
import dev.graft.data.LabelledSource;
import dev.graft.data.PromptData;
import dev.graft.data.PromptTemplate;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.CancellationToken;
import dev.graft.train.Pretraining;
import dev.graft.train.PretrainingSettings;
import dev.graft.train.RunSettings;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft finetune}. */
@Command(
    name = "finetune",
    description =
        "Fits a BERT to a task: classes, labels or numbers of texts, classes of words (ner), answers"
            + " in texts (qa), choices; or a GPT-2 to a text (lm) or to prompts with completions"
            + " (instruct, summarize). Ctrl-C saves a checkpoint and says how to go on.",
    footer = {
      "Examples:",
      "  graft finetune --model runs/bert --train train.csv --valid test.csv \\",
      "      --out runs/intents",
      "  graft finetune --model runs/bert --train pairs.tsv --text-column q1 \\",
      "      --second-text-column q2 --label-column same --epochs 5 --out runs/pairs",
      "  graft finetune --model runs/bert --out runs/stars \\",
      "      --train-sql \"SELECT review AS text, stars AS label FROM 'reviews/*.parquet'\"",
      "  graft finetune --model runs/bert --train train.csv --lora 8 --out runs/lora",
      "  graft finetune --model runs/bert --train train.csv --valid test.csv \\",
      "      --few-labels 16,64 --seeds 5 --out runs/few",
      "  graft finetune --task ner --model runs/bert --train train.conll --out runs/names",
      "  graft finetune --task qa --model runs/bert --train train-v2.0.json --out runs/reader",
      "  graft finetune --task lm --model gpt2 --train poems.txt --out runs/poet",
      "  graft finetune --task summarize --model gpt2 --train news.jsonl --out runs/news",
      "  graft finetune --out runs/poet --resume"
    })
final class FinetuneCommand extends RunCommand {
  /** Where a run keeps what it read before the fine-tuning. */
  private static final String ADAPTATION = "adaptation";

  /** What a model is fine-tuned for. */
  enum Kind {
    CLASSIFICATION(null),
    MULTI_LABEL(TextTask.MULTI_LABEL),
    REGRESSION(TextTask.REGRESSION),
    NER(TextTask.NER),
    QA(TextTask.QA),
    MULTIPLE_CHOICE(TextTask.MULTIPLE_CHOICE),
    LM(null),
    INSTRUCT(null),
    SUMMARIZE(null);

    private final TextTask task;

    Kind(TextTask task) {
      this.task = task;
    }

    /** As it is typed. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  @Option(
      names = "--task",
      paramLabel = "TASK",
      order = 1,
      description =
          "${COMPLETION-CANDIDATES} (default: that of the model's head, otherwise classification).")
  Kind task;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      order = 2,
      description =
          "What to begin with: a model directory, a run's, or a name on a hub such as bert-base-uncased or org/name@revision.")
  Path model;

  @Option(
      names = "--train",
      paramLabel = "FILE",
      arity = "1..*",
      order = 3,
      description =
          "classification, multi-label, regression: a .csv, .tsv, .jsonl or .parquet file; ner:"
              + " CoNLL columns or .jsonl; qa: SQuAD's .json or .jsonl; multiple-choice: .jsonl;"
              + " instruct, summarize: .jsonl, .csv, .tsv or .parquet; lm: text files.")
  List<Path> train;

  @Option(
      names = "--train-sql",
      paramLabel = "SELECT",
      order = 3,
      description = "Instead: one SELECT statement, run by DuckDB.")
  String trainSql;

  @Option(
      names = "--valid",
      paramLabel = "FILE",
      arity = "1..*",
      order = 4,
      description = "To judge by, in the same form.")
  List<Path> valid;

  @Option(
      names = "--valid-sql",
      paramLabel = "SELECT",
      order = 4,
      description = "Instead: one SELECT statement.")
  String validSql;

  @Mixin QueryFlags query;

  @Option(
      names = "--valid-share",
      paramLabel = "P",
      order = 5,
      description =
          "Without --valid: part of the data held back, of each class or of the text's end (default:"
              + " 0.1; lm: 0.05).")
  Double validShare;

  @Mixin ColumnFlags columns;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      order = 14,
      description = "Longest text in tokens, longer ones are cut (default: the model's length).",
      defaultValue = "0")
  int maxLength;

  @Option(
      names = "--new-head",
      order = 15,
      description = "Leave a classifier's own classes behind and take those of --train.")
  boolean newHead;

  @Option(
      names = "--label-separator",
      paramLabel = "TEXT",
      order = 16,
      description =
          "multi-label, regression: what stands between the labels or numbers of a text (default:"
              + " ${DEFAULT-VALUE}; JSON arrays need none).",
      defaultValue = ",")
  String labelSeparator;

  @Mixin CorpusFlags text;

  @Mixin TuningFlags tuning;

  @Mixin LoraFlags lora;

  @Mixin FewLabelsFlags few;

  @Override
  public Integer call() {
    if (onlyResumes()
        && !Files.isRegularFile(RunSettings.file(training.out))
        && Files.isRegularFile(RunSettings.file(training.out.resolve(ADAPTATION)))) {
      throw InvalidInputException.of(
          training.out,
          "was stopped before the fine-tuning, reading --adapt-on: give the whole command again to"
              + " go on");
    }
    if (onlyResumes() && RunSettings.task(training.out).equals(PromptTuning.TASK)) {
      return run((listener, token) -> PromptTuning.resume(resumed(), listener, token).training());
    }
    if (onlyResumes()) {
      boolean classifies = RunSettings.task(training.out).equals("sequence_classification");
      boolean other = TaskFineTuning.isIn(training.out);
      return run(
          (listener, token) -> {
            if (other) {
              return TaskFineTuning.resume(resumed(), listener, token).training();
            }
            return classifies
                ? FineTuning.resume(resumed(), listener, token).training()
                : Pretraining.resume(resumed(), listener, token);
          });
    }
    if (model == null) {
      throw new InvalidInputException("--model: the model to begin with is missing");
    }
    if (train == null && trainSql == null) {
      throw new InvalidInputException("--train: the data to train on are missing");
    }
    if (labelSeparator.isEmpty()) {
      throw new InvalidInputException("--label-separator: expected a text");
    }
    task = task == null ? taskOfModel() : task;
    query.require(trainSql, validSql);
    boolean judged = valid != null || validSql != null;
    if (judged && validShare != null) {
      throw new InvalidInputException("--valid and --valid-share: give one of them");
    }
    DType dtype;
    try (Device device = compute.open()) {
      dtype = compute.dtype(device);
    }
    TrainingOptions options =
        lora.over(
                tuning.over(
                    training.over(TrainingOptions.finetuning().device(compute.device()), dtype)))
            .build();
    if (tuning.adaptOn != null && task != Kind.CLASSIFICATION) {
      throw new InvalidInputException("--adapt-on goes before --task classification");
    }
    if (few.given()) {
      return fewLabels(options);
    }
    if (task == Kind.INSTRUCT || task == Kind.SUMMARIZE) {
      return prompted(options);
    }
    if (task.task != null) {
      return other(options);
    }
    return task == Kind.LM ? language(options) : classification(options);
  }

  /** The task of the model's head, if it has one. */
  private Kind taskOfModel() {
    return switch (Models.task(model)) {
      case TOKEN_CLASSIFICATION -> Kind.NER;
      case QUESTION_ANSWERING -> Kind.QA;
      case MULTIPLE_CHOICE -> Kind.MULTIPLE_CHOICE;
      case SEQUENCE_CLASSIFICATION ->
          switch (Models.problemType(model)) {
            case MULTI_LABEL_CLASSIFICATION -> Kind.MULTI_LABEL;
            case REGRESSION -> Kind.REGRESSION;
            case SINGLE_LABEL_CLASSIFICATION -> Kind.CLASSIFICATION;
          };
      default -> Kind.CLASSIFICATION;
    };
  }

  private int other(TrainingOptions options) {
    Models.require(model, "finetune --task " + task, "BERT", !Models.isGpt2(model));
    boolean texts = task == Kind.MULTI_LABEL || task == Kind.REGRESSION;
    if (!texts && columns.given()) {
      throw new InvalidInputException("--task " + task + ": its files have no columns to name");
    }
    if (tuning.adaptOn != null) {
      throw new InvalidInputException("--adapt-on: is for classification");
    }
    LabelledSource validation = query.source("--valid", valid, validSql);
    TaskFineTuning plan =
        new TaskFineTuning(
            task.task,
            model,
            newHead,
            query.source("--train", train, trainSql),
            validation,
            validation != null ? 0 : validShare == null ? 0.1 : validShare,
            columns.columns(),
            labelSeparator,
            maxLength,
            options,
            compute.threads);
    return run(
        (listener, token) -> plan.withTraining(heard(options, listener, token)).run().training());
  }

  private int fewLabels(TrainingOptions options) {
    Models.require(model, "finetune --few-labels", "BERT", !Models.isGpt2(model));
    LabelledSource test = query.source("--valid", valid, validSql);
    if (test == null || task != Kind.CLASSIFICATION || tuning.adaptOn != null) {
      throw new InvalidInputException(
          "--few-labels needs --valid, to take the accuracy on; it classifies, and adapts to no"
              + " texts");
    }
    FewLabels plan =
        few.over(
            FewLabels.of(
                    model,
                    Dataset.from(query.source("--train", train, trainSql), columns.columns()),
                    Dataset.from(test, columns.columns()))
                .learningRates(training.lr == null ? new Double[0] : new Double[] {training.lr})
                .training(
                    options.toBuilder()
                        .runDirectory(null)
                        .resume(false)
                        .saveEvery(0)
                        .cancellation(new CancellationToken())
                        .build())
                .options(
                    ModelOptions.defaults()
                        .withDevice(compute.device())
                        .withThreads(compute.threads)
                        .withDType(options.dtype())
                        .withMaxLength(maxLength)));
    return FewLabelsFlags.run(this, plan, training.out, json);
  }

  private int classification(TrainingOptions options) {
    Models.require(model, "finetune --task classification", "BERT", !Models.isGpt2(model));
    LabelledSource validation = query.source("--valid", valid, validSql);
    double share = validation != null ? 0 : validShare == null ? 0.1 : validShare;
    FineTuning plan =
        new FineTuning(
            model,
            newHead,
            query.source("--train", train, trainSql),
            validation,
            share,
            columns.columns(),
            maxLength,
            options,
            compute.threads);
    return run(
        (listener, token) -> {
          TrainingOptions heard = heard(options, listener, token);
          FineTuning fit = plan.withTraining(heard);
          return tuning.adaptOn == null ? fit.run().training() : adapted(heard, fit);
        });
  }

  /** The reading first; the same command goes on with whichever part was stopped. */
  private TrainingResult adapted(TrainingOptions heard, FineTuning fit) {
    DomainAdaptation adaptation = adaptation(heard);
    Optional<TrainingResult> reading = adaptation.read();
    if (reading.isPresent() && reading.get().cancelled()) {
      stoppedInFirstPart();
      return reading.get();
    }
    boolean begun = Files.isRegularFile(RunSettings.file(training.out));
    return fit.withModel(adaptation.modelDirectory())
        .withTraining(heard.toBuilder().resume(heard.resume() && begun).build())
        .run()
        .training();
  }

  private DomainAdaptation adaptation(TrainingOptions heard) {
    DomainAdaptation adaptation =
        DomainAdaptation.of(model, text.corpus(tuning.adaptOn), training.out.resolve(ADAPTATION))
            .threads(compute.threads)
            .training(
                DomainAdaptation.recipe(heard.dtype())
                    .device(heard.device())
                    .seed(heard.seed())
                    .listener(heard.listener())
                    .cancellation(heard.cancellation())
                    .build());
    return tuning.adaptEpochs == null ? adaptation : adaptation.epochs(tuning.adaptEpochs);
  }

  /** Prompts with completions; a file of prompt and completion is taken as it is. */
  private int prompted(TrainingOptions options) {
    String name = task.name().toLowerCase(Locale.ROOT);
    Models.require(model, "finetune --task " + name, "GPT-2", Models.isGpt2(model));
    if (columns.given() || newHead || trainSql != null || validSql != null) {
      throw new InvalidInputException(
          "--task "
              + name
              + " finds its columns by their names: column options, SQL and --new-head are for"
              + " classification");
    }
    Path examples = query.source("--train", train, null).file();
    LabelledSource validation = query.source("--valid", valid, null);
    PromptTuning plan =
        new PromptTuning(
            model,
            task == Kind.SUMMARIZE ? PromptTemplate.SUMMARIZE : PromptData.templateOf(examples),
            examples,
            validation == null ? null : validation.file(),
            validation != null ? 0 : validShare == null ? 0.1 : validShare,
            maxLength,
            options,
            compute.threads);
    return run(
        (listener, token) -> plan.withTraining(heard(options, listener, token)).run().training());
  }

  private int language(TrainingOptions options) {
    Models.require(model, "finetune --task lm", "GPT-2", Models.isGpt2(model));
    if (columns.given() || newHead || maxLength != 0 || train == null || validSql != null) {
      throw new InvalidInputException(
          "--task lm learns from plain text: columns, SQL, --max-length and --new-head are for"
              + " classification");
    }
    PretrainingSettings settings =
        PretrainingSettings.further(model, Task.CAUSAL_LM, text.corpus(train), options)
            .withValidation(valid == null ? null : text.corpus(valid))
            .withCorpusOptions(
                text.options(valid != null ? 0 : validShare == null ? 0.05 : validShare))
            .withThreads(compute.threads);
    return run(
        (listener, token) ->
            Pretraining.run(settings.withTraining(heard(options, listener, token))));
  }
}
