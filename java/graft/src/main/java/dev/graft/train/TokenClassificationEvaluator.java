package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.ExampleSource;
import dev.graft.data.TaggedSentence;
import dev.graft.data.TaggedWindow;
import dev.graft.metrics.EntityMetrics;
import dev.graft.metrics.EntityScheme;
import dev.graft.model.Network;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Tags of words: {@code loss}, {@code accuracy} of words and, where the tags are {@code B-}, {@code
 * I-} and {@code O}, those of {@link EntityMetrics}; judged by {@code f1}, without such tags by
 * {@code accuracy}. A word no token stands for counts as tagged with the first class.
 */
public final class TokenClassificationEvaluator extends HeadEvaluator {
  private final List<TaggedSentence> sentences;
  private final List<TaggedWindow> windows;
  private final boolean entities;
  private List<List<String>> answers;
  private List<String> names;

  /**
   * For a set.
   *
   * @param windows all those of the sentences, in order
   * @param labels the classes
   * @param batchSize windows computed together
   */
  public TokenClassificationEvaluator(
      List<TaggedSentence> sentences,
      List<TaggedWindow> windows,
      List<String> labels,
      int batchSize) {
    super(new ExampleSource("tokens", windows, batchSize, 0, false, 0));
    this.sentences = List.copyOf(sentences);
    this.windows = List.copyOf(windows);
    this.entities = isEntities(labels);
  }

  /** Whether tags are such as mark entities. */
  public static boolean isEntities(List<String> labels) {
    return labels.stream().allMatch(tag -> tag.matches("O|[BIES](-.*)?"));
  }

  @Override
  void begin(Network evaluated) {
    names = evaluated.config().labels();
    answers = new ArrayList<>();
    for (TaggedSentence sentence : sentences) {
      answers.add(new ArrayList<>(Collections.nCopies(sentence.words().size(), names.get(0))));
    }
  }

  @Override
  void add(Batch judged, int first, float[][] logits) {
    for (int w = 0; w < judged.liveSequences; w++) {
      TaggedWindow window = windows.get(first + w);
      for (int t = 0; t < window.tokens(); t++) {
        if (window.words()[t] >= 0) {
          int best = JudgedBatches.highest(logits[judged.cuSeqlens[w] + t]);
          answers.get(window.sentence()).set(window.words()[t], names.get(best));
        }
      }
    }
  }

  @Override
  Map<String, Double> metrics() {
    if (entities) {
      EntityMetrics metrics = new EntityMetrics(EntityScheme.LENIENT);
      for (int s = 0; s < answers.size(); s++) {
        metrics.add(sentences.get(s).tags(), answers.get(s));
      }
      return metrics.toMap();
    }
    long right = 0;
    long all = 0;
    for (int s = 0; s < answers.size(); s++) {
      for (int w = 0; w < answers.get(s).size(); w++) {
        right += answers.get(s).get(w).equals(sentences.get(s).tags().get(w)) ? 1 : 0;
        all++;
      }
    }
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("accuracy", (double) right / all);
    return metrics;
  }

  @Override
  long examples() {
    return sentences.size();
  }

  @Override
  public String mainMetric() {
    return entities ? "f1" : "accuracy";
  }
}
