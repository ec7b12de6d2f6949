package dev.graft;

import dev.graft.apply.Entity;
import dev.graft.apply.TaggedWord;
import dev.graft.apply.TokenTagger;
import dev.graft.data.LabelSet;
import dev.graft.data.TaggedData;
import dev.graft.data.TaggedSentence;
import dev.graft.data.TaggedWindow;
import dev.graft.data.TaggedWindows;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Task;
import dev.graft.train.Evaluator;
import dev.graft.train.TokenClassificationEvaluator;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * BERT that gives each word a class: names of people and places, parts of speech.
 *
 * <pre>
 *   try (var model = BertForTokenClassification.fromPretrained("my-bert")) {
 *     model.fit(TaggedData.read("train.conll"), TaggedData.read("valid.conll"));
 *     model.entities("Ada Lovelace lived in London.").forEach(System.out::println);
 *     model.savePretrained("my-tagger");
 *   }
 * </pre>
 *
 * <p>Sentences longer than the model takes are read in windows; no word is lost.
 */
public final class BertForTokenClassification extends TaskModel {
  private final Worker<TokenTagger> worker;

  private BertForTokenClassification(Parts parts) {
    super(parts, Task.TOKEN_CLASSIFICATION);
    worker =
        new Worker<>(
            this,
            "BertForTokenClassification",
            options().threads(),
            network -> new TokenTagger(network, tokenizer(), maxLength(), BATCH_SIZE));
  }

  /** Reads a model directory, or a name on a hub. */
  public static BertForTokenClassification fromPretrained(String directory) {
    return fromPretrained(Path.of(directory), ModelOptions.defaults());
  }

  /**
   * Reads a model directory. A token classifier comes with its classes; of any other encoder the
   * body is taken, and the classes come from the data of the first {@code fit}.
   *
   * @throws InvalidInputException in one line if a file is missing or broken
   */
  public static BertForTokenClassification fromPretrained(Path directory, ModelOptions options) {
    return new BertForTokenClassification(parts(directory, Task.TOKEN_CLASSIFICATION, options));
  }

  /** Takes the encoder of a model directory under a new head. */
  public static BertForTokenClassification fromEncoder(Path directory, ModelOptions options) {
    return new BertForTokenClassification(parts(directory, null, options));
  }

  /** Trains by {@link TrainingOptions#finetuning()}, which suits model and data. */
  public FitResult fit(List<TaggedSentence> train, List<TaggedSentence> validation) {
    return fit(train, validation, TrainingOptions.finetuning().build());
  }

  /**
   * Trains on tagged sentences, as {@link BertForSequenceClassification#fit} does on texts.
   *
   * @param validation judged by the F1 of entities, or accuracy for other tags; may be null
   * @throws InvalidInputException if a tag is missing or not one of the model's
   */
  public FitResult fit(
      List<TaggedSentence> train, List<TaggedSentence> validation, TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      requireAny(train);
      LabelSet classes = hasHead() ? new LabelSet(labels()) : TaggedData.labels(train);
      TaggedWindows cutter = new TaggedWindows(tokenizer(), maxLength());
      List<TaggedWindow> windows = cutter.of(train, classes);
      Evaluator evaluator = validation == null ? null : evaluator(validation, cutter, classes);
      return train(config().withLabels(classes.names()), windows, evaluator, options, 0);
    }
  }

  private static Evaluator evaluator(
      List<TaggedSentence> sentences, TaggedWindows cutter, LabelSet classes) {
    requireAny(sentences);
    return new TokenClassificationEvaluator(
        sentences, cutter.of(sentences, classes), classes.names(), BATCH_SIZE);
  }

  /** Answers on tagged sentences; see {@link TokenClassificationEvaluator}. */
  public Map<String, Double> evaluate(List<TaggedSentence> sentences) {
    try (Gate.Use use = gate().read("evaluate")) {
      requireHead();
      TaggedWindows cutter = new TaggedWindows(tokenizer(), maxLength());
      return judge(evaluator(sentences, cutter, new LabelSet(labels())), 0);
    }
  }

  /** The class of each word of a sentence. */
  public List<TaggedWord> predict(List<String> words) {
    return predictAll(List.of(words)).get(0);
  }

  /** The class of each word of each sentence. Threads take turns. */
  public synchronized List<List<TaggedWord>> predictAll(List<List<String>> sentences) {
    return worker.call(
        "predict",
        tagger -> {
          requireHead();
          return tagger.tag(sentences);
        });
  }

  /** The entities of a text. */
  public List<Entity> entities(String text) {
    return entities(List.of(text)).get(0);
  }

  /**
   * The entities of each text. Threads take turns.
   *
   * @throws IllegalStateException if the classes are no tags such as B-PER, I-PER, O
   */
  public synchronized List<List<Entity>> entities(List<String> texts) {
    return worker.call(
        "entities",
        tagger -> {
          requireHead();
          if (!TokenClassificationEvaluator.isEntities(labels())) {
            throw new IllegalStateException(
                "these classes mark no entities (B-, I-, O), use predict: " + labels());
          }
          return tagger.entities(texts);
        });
  }
}
