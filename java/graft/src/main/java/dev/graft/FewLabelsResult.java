package dev.graft;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.util.List;

/**
 * What {@link FewLabels} found.
 *
 * @param rows one for each number of labels that is complete
 * @param cancelled whether some are missing because it was cancelled
 */
public record FewLabelsResult(List<Row> rows, boolean cancelled) {

  /**
   * One draw of examples.
   *
   * @param seed 1, 2 …
   * @param learningRate that was chosen
   * @param validation accuracy it was chosen by
   * @param accuracy on the test set
   */
  public record Run(int seed, double learningRate, double validation, double accuracy) {}

  /** All draws of so many examples a class, a run each. */
  public record Row(int perClass, List<Run> pretrained, List<Run> fresh) {
    public Row {
      pretrained = List.copyOf(pretrained);
      fresh = List.copyOf(fresh);
    }

    /** Mean difference of the accuracies. */
    public double gain() {
      return mean(pretrained) - mean(fresh);
    }
  }

  public FewLabelsResult {
    rows = List.copyOf(rows);
  }

  /** Mean accuracy on the test set. */
  public static double mean(List<Run> runs) {
    return runs.stream().mapToDouble(Run::accuracy).average().orElse(Double.NaN);
  }

  /** Sample standard deviation of it; 0 of one run. */
  public static double deviation(List<Run> runs) {
    double mean = mean(runs);
    double squares = runs.stream().mapToDouble(r -> Math.pow(r.accuracy() - mean, 2)).sum();
    return runs.size() < 2 ? 0 : Math.sqrt(squares / (runs.size() - 1));
  }

  /** For people: accuracy in percent, mean and deviation over the seeds. */
  public String table() {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            "%12s  %16s  %16s  %8s%n", "labels/class", "pretrained", "from scratch", "gain"));
    for (Row row : rows) {
      text.append(
          String.format(
              "%,12d  %16s  %16s  %+8.1f%n",
              row.perClass(), percent(row.pretrained()), percent(row.fresh()), 100 * row.gain()));
    }
    return text.toString();
  }

  private static String percent(List<Run> runs) {
    return String.format("%.1f ± %.1f %%", 100 * mean(runs), 100 * deviation(runs));
  }

  /** All of it. */
  public ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("type", "few_labels").put("cancelled", cancelled);
    ArrayNode array = json.putArray("rows");
    for (Row row : rows) {
      ObjectNode one = array.addObject();
      one.put("labels_per_class", row.perClass()).put("gain", row.gain());
      put(one.putObject("pretrained"), row.pretrained());
      put(one.putObject("from_scratch"), row.fresh());
    }
    return json;
  }

  private static void put(ObjectNode json, List<Run> runs) {
    json.put("accuracy_mean", mean(runs)).put("accuracy_deviation", deviation(runs));
    ArrayNode array = json.putArray("runs");
    for (Run run : runs) {
      array
          .addObject()
          .put("seed", run.seed())
          .put("learning_rate", run.learningRate())
          .put("validation_accuracy", run.validation())
          .put("accuracy", run.accuracy());
    }
  }
}
