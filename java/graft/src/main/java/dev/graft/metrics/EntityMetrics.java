package dev.graft.metrics;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Entities found in tagged sentences: right only if type, begin and end are (Tjong Kim Sang and De
 * Meulder 2003). Numbers as seqeval's.
 */
public final class EntityMetrics {
  /** What was counted of one type. */
  private static final class Counts {
    long right;
    long truths;
    long answers;

    double precision() {
      return answers == 0 ? 0 : (double) right / answers;
    }

    double recall() {
      return truths == 0 ? 0 : (double) right / truths;
    }

    double f1() {
      return truths + answers == 0 ? 0 : 2.0 * right / (truths + answers);
    }
  }

  private final EntityScheme scheme;
  private final SortedMap<String, Counts> types = new TreeMap<>();
  private long words;
  private long rightWords;

  public EntityMetrics(EntityScheme scheme) {
    this.scheme = scheme;
  }

  /**
   * One sentence: its tags and those answered.
   *
   * @throws IllegalArgumentException if they differ in length or a tag has no meaning
   */
  public void add(List<String> truth, List<String> answer) {
    if (truth.size() != answer.size()) {
      throw new IllegalArgumentException(
          "expected " + truth.size() + " tags, one a word, got " + answer.size());
    }
    Set<EntitySpan> truths = new HashSet<>(scheme.spans(truth));
    List<EntitySpan> answers = scheme.spans(answer);
    truths.forEach(span -> counts(span).truths++);
    for (EntitySpan span : answers) {
      counts(span).answers++;
      if (truths.contains(span)) {
        counts(span).right++;
      }
    }
    words += truth.size();
    for (int i = 0; i < truth.size(); i++) {
      rightWords += truth.get(i).equals(answer.get(i)) ? 1 : 0;
    }
  }

  private Counts counts(EntitySpan span) {
    return types.computeIfAbsent(span.type(), type -> new Counts());
  }

  private Counts all() {
    Counts all = new Counts();
    for (Counts counts : types.values()) {
      all.right += counts.right;
      all.truths += counts.truths;
      all.answers += counts.answers;
    }
    return all;
  }

  /** Types that occur, in order of their names. */
  public Set<String> types() {
    return types.keySet();
  }

  /** Share of the entities found that are right; 0 if none was found. */
  public double precision() {
    return all().precision();
  }

  /** Share of the true entities that were found; 0 if there are none. */
  public double recall() {
    return all().recall();
  }

  /** Micro F1, the figure CoNLL reports. */
  public double f1() {
    return all().f1();
  }

  /** F1 of one type; 0 if it does not occur. */
  public double f1(String type) {
    return types.getOrDefault(type, new Counts()).f1();
  }

  /** Mean F1 of the types that occur; NaN without any. */
  public double macroF1() {
    return types.values().stream().mapToDouble(Counts::f1).average().orElse(Double.NaN);
  }

  /** Share of right tags; NaN without words. */
  public double accuracy() {
    return (double) rightWords / words;
  }

  /** All of them by name. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("f1", f1());
    metrics.put("precision", precision());
    metrics.put("recall", recall());
    metrics.put("f1_macro", macroF1());
    metrics.put("accuracy", accuracy());
    return metrics;
  }
}
