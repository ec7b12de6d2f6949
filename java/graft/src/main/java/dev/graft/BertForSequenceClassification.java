package dev.graft;

import dev.graft.apply.Prediction;
import dev.graft.data.BatchSource;
import dev.graft.data.ClassificationSource;
import dev.graft.data.EncodedTexts;
import dev.graft.data.ExampleSource;
import dev.graft.data.LabelSet;
import dev.graft.data.LabelledExample;
import dev.graft.data.ValuedText;
import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import dev.graft.model.BertConfig;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import dev.graft.train.ClassificationEvaluator;
import dev.graft.train.Evaluator;
import dev.graft.train.MultiLabelEvaluator;
import dev.graft.train.RegressionEvaluator;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * BERT, RoBERTa or DistilBERT that sorts texts, or pairs of texts, into classes, gives them any
 * number of labels, or a number: see {@link ProblemType}.
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
   * Reads a model directory for labels or numbers.
   *
   * <pre>
   *   fromPretrained("my-bert", ProblemType.MULTI_LABEL_CLASSIFICATION)  // labels "red,round"
   *   fromPretrained("my-bert", ProblemType.REGRESSION)                  // labels such as 3.5
   * </pre>
   *
   * @throws InvalidInputException if it holds a classifier of another type
   */
  public static BertForSequenceClassification fromPretrained(String directory, ProblemType type) {
    return fromPretrained(Path.of(directory), type, ModelOptions.defaults());
  }

  /** See {@link #fromPretrained(String, ProblemType)}. */
  public static BertForSequenceClassification fromPretrained(
      Path directory, ProblemType type, ModelOptions options) {
    BertForSequenceClassification model = fromPretrained(directory, options);
    try {
      if (model.hasClasses() && model.problemType() != type) {
        throw InvalidInputException.of(
            directory,
            "is a model for "
                + model.problemType().publishedName()
                + ", not "
                + type.publishedName()
                + "; begin a new head");
      }
      model.become(type, model.network().task());
      return model;
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  /**
   * Takes the encoder of a model directory under a new head; what its outputs are called comes from
   * the data of the first {@code fit}.
   */
  public static BertForSequenceClassification fromEncoder(
      Path directory, ProblemType type, ModelOptions options) {
    BertForSequenceClassification model = fromEncoder(directory, List.of(), options);
    model.become(type, Task.BASE);
    return model;
  }

  private void become(ProblemType type, Task task) {
    BertConfig config = (BertConfig) config();
    become(config.withProblemType(type), task, options().dtype(), options().seed());
  }

  /** What its outputs mean. */
  public ProblemType problemType() {
    return ((BertConfig) config()).problemType();
  }

  /**
   * Takes the encoder of a model directory under a new head of classes.
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
    ModelConfig bare =
        ((BertConfig) config())
            .withProblemType(ProblemType.SINGLE_LABEL_CLASSIFICATION)
            .withLabels(List.of());
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
      LabelSet classes = hasClasses() ? new LabelSet(labels()) : classes(train);
      Encoded trained = encode(train, classes);
      Encoded judged = validation == null ? null : encode(validation, classes);
      BatchSource source = trained.source(options);
      become(
          config().withLabels(classes.names()),
          Task.SEQUENCE_CLASSIFICATION,
          options.dtype(),
          options.seed());
      try (Evaluator evaluator = judged == null ? null : judged.evaluator(problemType())) {
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

  private LabelSet classes(Dataset train) {
    return switch (problemType()) {
      case SINGLE_LABEL_CLASSIFICATION -> train.labels();
      case MULTI_LABEL_CLASSIFICATION -> train.allLabels();
      case REGRESSION -> new LabelSet(train.outputNames());
    };
  }

  /**
   * A set in tokens.
   *
   * @param labels class ids of its texts
   * @param values instead, where outputs are labels or numbers
   */
  private record Encoded(EncodedTexts texts, int[] labels, List<float[]> values) {
    private List<ValuedText> valued() {
      return IntStream.range(0, values.size())
          .mapToObj(i -> new ValuedText(texts.encodings().get(i), values.get(i)))
          .toList();
    }

    BatchSource source(TrainingOptions options) {
      return values.isEmpty()
          ? new ClassificationSource(
              texts.encodings(), labels, options.batchSize(), true, options.seed())
          : new ExampleSource(
              "values", valued(), options.batchSize(), values.get(0).length, true, options.seed());
    }

    Evaluator evaluator(ProblemType type) {
      return switch (type) {
        case SINGLE_LABEL_CLASSIFICATION ->
            new ClassificationEvaluator(texts.encodings(), labels, Predictor.BATCH_SIZE);
        case MULTI_LABEL_CLASSIFICATION -> new MultiLabelEvaluator(valued(), Predictor.BATCH_SIZE);
        case REGRESSION -> new RegressionEvaluator(valued(), Predictor.BATCH_SIZE);
      };
    }
  }

  private float[] values(LabelledExample example, Dataset data, LabelSet classes) {
    requireColumns(example, data, classes);
    if (problemType() == ProblemType.REGRESSION) {
      float[] numbers = data.cells().numbers(inOrder(example, classes), data.name());
      if (numbers.length != classes.size()) {
        throw new InvalidInputException(
            data.name()
                + (example.line() > 0 ? ": line " + example.line() : "")
                + ": expected "
                + classes.size()
                + " numbers, got "
                + numbers.length);
      }
      return numbers;
    }
    float[] is = new float[classes.size()];
    for (String label : data.cells().labels(example, data.name())) {
      is[id(new LabelledExample(null, null, label, example.line()), data, classes)] = 1;
    }
    return is;
  }

  /** Columns that are named otherwise than the model's outputs are not guessed at. */
  private static void requireColumns(LabelledExample example, Dataset data, LabelSet classes) {
    Set<String> columns = example.cells().keySet();
    boolean unnamed = classes.names().stream().allMatch(name -> name.matches("LABEL_\\d+"));
    boolean fits =
        unnamed ? columns.size() == classes.size() : columns.equals(Set.copyOf(classes.names()));
    if (!columns.isEmpty() && !fits) {
      throw new InvalidInputException(
          data.name() + ": the model's outputs are " + classes.names() + ", not " + columns);
    }
  }

  /** Cells in the order of the outputs they are named as. */
  private static LabelledExample inOrder(LabelledExample example, LabelSet classes) {
    if (!example.cells().keySet().containsAll(classes.names())) {
      return example;
    }
    Map<String, String> cells = new LinkedHashMap<>();
    classes.names().forEach(name -> cells.put(name, example.cells().get(name)));
    return new LabelledExample(
        example.text(), example.secondText(), example.label(), cells, example.line());
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
    List<float[]> values = new ArrayList<>();
    data.forEach(
        example -> {
          if (problemType().hasFloatTargets()) {
            values.add(values(example, data, classes));
          } else {
            ids.add(id(example, data, classes));
          }
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
    return new Encoded(encoded, ids.build().toArray(), values);
  }

  /**
   * Answers on a labelled set: {@code loss}, {@code accuracy}, {@code f1_macro}, {@code f1_micro},
   * {@code mcc}, {@code examples}, {@code truncated}; for labels and numbers see {@link
   * MultiLabelEvaluator} and {@link RegressionEvaluator}.
   *
   * @throws InvalidInputException if a label is missing or not one of the model's
   */
  public Map<String, Double> evaluate(Dataset data) {
    try (Gate.Use use = gate().read("evaluate")) {
      requireClasses();
      Encoded encoded = encode(data, new LabelSet(labels()));
      synchronized (network().device()) {
        try (Evaluator evaluator = encoded.evaluator(problemType())) {
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
