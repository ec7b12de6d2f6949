package dev.graft.quickstart;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.apply.Prediction;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;

/** What came of a quickstart. */
public record QuickstartResult(Gpt gpt, Bert bert, Path directory) {

  /**
   * The GPT.
   *
   * @param parameters numbers it learnt
   * @param validationLoss mean loss a character, in nats, over the whole validation text
   * @param seconds from beginning to end, while other jobs ran beside it
   * @param prompt what it was given
   * @param text what it wrote on
   * @param model its model directory
   * @param picture its loss curve
   */
  public record Gpt(
      long parameters,
      double validationLoss,
      double seconds,
      String prompt,
      String text,
      Path model,
      Path picture) {}

  /**
   * The BERT.
   *
   * @param seconds from the beginning of pretraining to the end of both fine-tunings
   * @param pretrained model directory of the pretrained network
   * @param pretrainingPicture its loss curve
   * @param picture accuracy of both fine-tunings over their steps
   */
  public record Bert(
      Arm transfer,
      Arm scratch,
      double seconds,
      Path pretrained,
      Path pretrainingPicture,
      Path picture) {
    /** Points of accuracy on the test set that pretraining gave. */
    public double gain() {
      return 100 * (transfer.testAccuracy() - scratch.testAccuracy());
    }
  }

  /**
   * A fine-tuned network.
   *
   * @param learningRate the one its validation accuracy chose
   * @param validationAccuracy by which it was chosen
   * @param testAccuracy on the test set, 0 to 1
   * @param curve of its validation accuracy
   * @param model its model directory
   * @param answers its answers to {@link BertJobs#QUESTIONS}
   */
  public record Arm(
      double learningRate,
      double validationAccuracy,
      double testAccuracy,
      List<Point> curve,
      Path model,
      List<Answer> answers) {}

  /** Validation accuracy after so many steps. */
  public record Point(long step, double accuracy) {}

  /** A question that is in no set, and its intent as a model sees it. */
  public record Answer(String question, Prediction.Scored intent) {}

  /** Both parts' figures: the last line of {@code graft quickstart --json}. */
  public ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.putObject("gpt")
        .put("validation_loss", rounded(gpt.validationLoss(), 1e4))
        .put("seconds", rounded(gpt.seconds(), 10));
    json.putObject("bert")
        .put("transfer_accuracy", rounded(bert.transfer().testAccuracy(), 1e4))
        .put("scratch_accuracy", rounded(bert.scratch().testAccuracy(), 1e4))
        .put("seconds", rounded(bert.seconds(), 10));
    return json;
  }

  private static double rounded(double value, double scale) {
    return Math.round(value * scale) / scale;
  }
}
