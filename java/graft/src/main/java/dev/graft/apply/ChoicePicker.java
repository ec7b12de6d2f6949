package dev.graft.apply;

import dev.graft.data.ChoiceQuestion;
import dev.graft.data.EncodedChoices;
import dev.graft.model.Network;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Picks the right choices of questions. Serves one thread. */
public final class ChoicePicker implements AutoCloseable {
  /** Choices computed together. */
  private static final int TOGETHER = 16;

  private final Tokenizer tokenizer;
  private final int maxLength;
  private final PackedForward forward;

  /**
   * Over a network.
   *
   * @param maxLength longest sequence in tokens
   */
  public ChoicePicker(Network network, Tokenizer tokenizer, int maxLength) {
    this.tokenizer = tokenizer;
    this.maxLength = maxLength;
    this.forward = new PackedForward(network, maxLength, TOGETHER);
  }

  /** The right choice of each question; labels are not looked at. */
  public List<Choice> pick(List<ChoiceQuestion> questions) {
    List<Choice> out = new ArrayList<>();
    for (ChoiceQuestion one : questions) {
      EncodedChoices question = EncodedChoices.of(tokenizer, one, maxLength);
      List<Float> scores = new ArrayList<>();
      forward.run(
          question.choices(),
          (step, batch) -> {
            for (float[] logits : step.classify(batch)) {
              scores.add(logits[0]);
            }
          });
      float[] logits = new float[scores.size()];
      for (int i = 0; i < logits.length; i++) {
        logits[i] = scores.get(i);
      }
      double[] p = Softmax.of(logits);
      int best = Softmax.top(p, 1)[0];
      out.add(
          new Choice(
              best,
              one.choices().get(best),
              Arrays.stream(p).boxed().toList(),
              question.truncated()));
    }
    return out;
  }

  @Override
  public void close() {
    forward.close();
  }
}
