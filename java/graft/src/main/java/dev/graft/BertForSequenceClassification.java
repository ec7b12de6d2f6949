package dev.graft;

import dev.graft.apply.Prediction;
import dev.graft.data.ClassificationSource;
import dev.graft.data.EncodedTexts;
import dev.graft.data.LabelSet;
import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import dev.graft.model.BertConfig;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import dev.graft.train.ClassificationEvaluator;
import dev.graft.train.Evaluator;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * BERT, RoBERTa or DistilBERT that sorts texts, or pairs of texts, into classes.
 *
 * <pre>
 *   try (var model = BertForSequenceClassification.fromPretrained("my-bert")) {
 *     FitResult result = model.fit(Dataset.fromFile("train.csv"), Dataset.fromFile("valid.csv"));
 *     System.out.println(result.validation().get("accuracy"));
 *     System.out.println(model.predict("What a film!").label());
 *     model.savePretrained("my-classifier");
 *   }
 * </pre>
 *
 * <p>Texts longer than the model takes (or {@link ModelOptions#maxLength}) lose their end; {@link
 * FitResult#truncated}, {@link Prediction#truncated} and the metric {@code truncated} say so.
 */
public final class BertForSequenceClassification extends PreTrainedModel {
  private static final Logger LOG = LoggerFactory.getLogger(BertForSequenceClassification.class);

  private final Predictor predictor;

  private BertForSequenceClassification(Parts parts) {
    super(parts);
    predictor = new Predictor(this, "BertForSequenceClassification", options().threads());
  }

  /** Reads a model directory; see the overload. */
  public static BertForSequenceClassification fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory).path());
  }

  /** Reads a model directory; see the overload. */
  public static BertForSequenceClassification fromPretrained(Path directory) {
    return fromPretrained(directory, ModelOptions.defaults());
  }

  /**
   * Reads a model directory. A classifier comes with its classes; of any other BERT the encoder is
   * taken, and the classes come from the data of the first {@code fit}.
   *
   * @throws InvalidInputException in one line if it is no directory, or a file of it is missing or
   *     broken
   */
  public static BertForSequenceClassification fromPretrained(Path directory, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    boolean classifier = taskOf(path) == Task.SEQUENCE_CLASSIFICATION;
    return read(path, options, classifier ? Task.SEQUENCE_CLASSIFICATION : Task.BASE);
  }

  /**
   * Takes the encoder of a model directory under a new head.
   *
   * @param labels names of the classes by id; empty: from the data of the first {@code fit}
   */
  public static BertForSequenceClassification fromEncoder(
      Path directory, List<String> labels, ModelOptions options) {
    BertForSequenceClassification model =
        read(ModelDirectory.resolve(directory).path(), options, Task.BASE);
    try {
      model.newHead(labels);
      return model;
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  private static BertForSequenceClassification read(Path path, ModelOptions options, Task task) {
    return new BertForSequenceClassification(
        Parts.read(
            options,
            path,
            ENCODERS,
            device -> Network.load(device, path, task, options.dtype(), null, options.seed())));
  }

  /**
   * A new network.
   *
   * @param config its shape; the vocabulary size is replaced by the tokenizer's. Its labels, if it
   *     has some, are the classes; otherwise they come from the data of the first {@code fit}
   * @param tokenizer stays the caller's: close it after the model
   */
  public static BertForSequenceClassification create(
      BertConfig config, Tokenizer tokenizer, ModelOptions options) {
    BertConfig whole = config.withVocabSize(tokenizer.vocabSize());
    Task task = config.labels().isEmpty() ? Task.BASE : Task.SEQUENCE_CLASSIFICATION;
    return new BertForSequenceClassification(
        Parts.make(
            options,
            tokenizer,
            false,
            device -> Network.create(device, whole, task, options.dtype(), options.seed())));
  }

  private void newHead(List<String> labels) {
    ModelConfig bare = config().withLabels(List.of());
    become(bare, Task.BASE, options().dtype(), options().seed());
    if (!labels.isEmpty()) {
      become(
          bare.withLabels(new LabelSet(labels).names()),
          Task.SEQUENCE_CLASSIFICATION,
          options().dtype(),
          options().seed());
    }
  }

  boolean hasClasses() {
    return network().task() == Task.SEQUENCE_CLASSIFICATION;
  }

  void requireClasses() {
    if (!hasClasses()) {
      throw new IllegalStateException(
          "this BERT has no classes yet: fit it on a labelled set first, or name them with"
              + " fromEncoder");
    }
  }

  /** Trains by {@link TrainingOptions#finetuning()}, which suits model and data. */
  public FitResult fit(Dataset train, Dataset validation) {
    return fit(train, validation, TrainingOptions.finetuning().build());
  }

  /**
   * Trains on raw text. With validation data the model holds its best weights afterwards ({@link
   * dev.graft.train.Selection}), without it the last ones; a run that was stopped goes on by {@code
   * resume(true)} with the same data and options.
   *
   * @param validation what is judged every {@code evalEvery} steps and at the end; may be null
   * @throws InvalidInputException if a label is missing or not one of the model's or of the
   *     training set's, or the run directory cannot be used
   * @throws IllegalStateException if another call is using the model
   */
  public FitResult fit(Dataset train, Dataset validation, TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      LabelSet classes = hasClasses() ? new LabelSet(labels()) : train.labels();
      Encoded trained = encode(train, classes);
      Encoded judged = validation == null ? null : encode(validation, classes);
      ClassificationSource source =
          new ClassificationSource(
              trained.texts().encodings(),
              trained.labels(),
              options.batchSize(),
              true,
              options.seed());
      become(
          config().withLabels(classes.names()),
          Task.SEQUENCE_CLASSIFICATION,
          options.dtype(),
          options.seed());
      try (Evaluator evaluator = judged == null ? null : judged.evaluator()) {
        TrainingResult result =
            new Trainer(network(), source, tokenizer()::savePretrained, evaluator, options).run();
        long truncated =
            trained.texts().truncated() + (judged == null ? 0 : judged.texts().truncated());
        return new FitResult(result, truncated, classes.names());
      } finally {
        network().disableTraining();
      }
    }
  }

  /** A set in tokens and the class ids of its texts. */
  private record Encoded(EncodedTexts texts, int[] labels) {
    Evaluator evaluator() {
      return new ClassificationEvaluator(texts.encodings(), labels, Predictor.BATCH_SIZE);
    }
  }

  private int id(LabelledExample example, Dataset data, LabelSet classes) {
    try {
      return classes.id(example, data.name());
    } catch (InvalidInputException e) {
      throw hasClasses()
          ? new InvalidInputException(
              e.getMessage() + " of the model; for other classes begin a new head", e)
          : e;
    }
  }

  private Encoded encode(Dataset data, LabelSet classes) {
    EncodedTexts.Builder texts = new EncodedTexts.Builder(tokenizer(), maxLength());
    IntStream.Builder ids = IntStream.builder();
    data.forEach(
        example -> {
          ids.add(id(example, data, classes));
          texts.add(example);
        });
    EncodedTexts encoded = texts.build();
    if (encoded.truncated() > 0) {
      LOG.warn(
          "{}: {} of {} texts are longer than {} tokens (the longest has {}) and were cut",
          data.name(),
          encoded.truncated(),
          encoded.encodings().size(),
          maxLength(),
          encoded.longest());
    }
    return new Encoded(encoded, ids.build().toArray());
  }

  /**
   * Answers on a labelled set: {@code loss}, {@code accuracy}, {@code f1_macro}, {@code f1_micro},
   * {@code mcc}, {@code examples}, {@code truncated}.
   *
   * @throws InvalidInputException if a label is missing or not one of the model's
   */
  public Map<String, Double> evaluate(Dataset data) {
    try (Gate.Use use = gate().read("evaluate")) {
      requireClasses();
      Encoded encoded = encode(data, new LabelSet(labels()));
      synchronized (network().device()) {
        try (Evaluator evaluator = encoded.evaluator()) {
          Map<String, Double> metrics = new LinkedHashMap<>(evaluator.evaluate(network()));
          metrics.put("truncated", (double) encoded.texts().truncated());
          return metrics;
        }
      }
    }
  }

  /** A predictor for another thread, with all of the model's CPU threads. */
  public Predictor predictor() {
    return predictor(options().threads());
  }

  /**
   * A predictor for another thread. Many at once are fastest with few threads each.
   *
   * @param threads CPU threads it uses; 0 for all
   */
  public Predictor predictor(int threads) {
    return new Predictor(this, "Predictor", threads);
  }

  /** The class of a text. Threads take turns; see {@link #predictor()}. */
  public Prediction predict(String text) {
    synchronized (predictor) {
      return predictor.predict(text);
    }
  }

  /** The class of a pair of texts. */
  public Prediction predict(String text, String secondText) {
    synchronized (predictor) {
      return predictor.predict(text, secondText);
    }
  }

  /** The class of each text, in order. */
  public List<Prediction> predict(List<String> texts) {
    synchronized (predictor) {
      return predictor.predict(texts);
    }
  }

  /** The class of each text of a set; its labels are not looked at. */
  public List<Prediction> predict(Dataset data) {
    synchronized (predictor) {
      return predictor.predict(data);
    }
  }
}
