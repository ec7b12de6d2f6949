package dev.graft;

import dev.graft.apply.Prediction;
import dev.graft.apply.TextClassifier;
import dev.graft.data.LabelledExample;
import java.util.List;

/**
 * Classes of texts for one thread, over the shared weights of a {@link
 * BertForSequenceClassification}. Cheap beside the model; make one a thread and close it before the
 * model, or let the model close it.
 */
public final class Predictor implements AutoCloseable {
  static final int BATCH_SIZE = 32;

  private final BertForSequenceClassification model;
  private final Worker<TextClassifier> worker;

  Predictor(BertForSequenceClassification model, String name, int threads) {
    this.model = model;
    this.worker =
        new Worker<>(
            model,
            name,
            threads,
            network ->
                new TextClassifier(network, model.tokenizer(), model.maxLength(), BATCH_SIZE));
  }

  /** The class of a text. */
  public Prediction predict(String text) {
    return predict(List.of(text)).get(0);
  }

  /** The class of a pair of texts. */
  public Prediction predict(String text, String secondText) {
    return examples(List.of(new LabelledExample(text, secondText, null)), Integer.MAX_VALUE).get(0);
  }

  /** The class of each text, in order. */
  public List<Prediction> predict(List<String> texts) {
    return examples(
        texts.stream().map(text -> new LabelledExample(text, null)).toList(), Integer.MAX_VALUE);
  }

  /** The class of each text of a set; its labels are not looked at. */
  public List<Prediction> predict(Dataset data) {
    return examples(data.examples(), Integer.MAX_VALUE);
  }

  private List<Prediction> examples(List<LabelledExample> texts, int k) {
    return worker.call(
        "predict",
        classifier -> {
          model.requireClasses();
          return classifier.predict(texts, k);
        });
  }

  /** Frees what it holds; the weights stay. */
  @Override
  public void close() {
    worker.close();
  }
}
