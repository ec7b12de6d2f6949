package dev.graft.data;

import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A question with choices in tokens: context and question with the choice, or without a context
 * question and choice, as two texts.
 *
 * @param choices a sequence each
 * @param label which is right, {@link Batch#IGNORED} if it is not known
 * @param truncated whether a sequence was longer than the model takes and was cut
 */
public record EncodedChoices(List<Encoding> choices, int label, boolean truncated)
    implements Example {

  /**
   * Encodes a question.
   *
   * @param maxLength longest sequence in tokens; longer ones lose the end of their longer part
   */
  public static EncodedChoices of(Tokenizer tokenizer, ChoiceQuestion question, int maxLength) {
    List<Encoding> sequences = new ArrayList<>();
    boolean cut = false;
    for (String choice : question.choices()) {
      boolean about = question.context() != null;
      Encoding whole =
          tokenizer.encode(
              about ? question.context() : question.question(),
              about ? (question.question() + " " + choice).strip() : choice,
              true);
      cut |= whole.length() > maxLength;
      sequences.add(whole.truncate(maxLength));
    }
    return new EncodedChoices(
        sequences, question.label() < 0 ? Batch.IGNORED : question.label(), cut);
  }

  @Override
  public int sequences() {
    return choices.size();
  }

  @Override
  public int tokens() {
    return choices.stream().mapToInt(Encoding::length).sum();
  }

  @Override
  public int longest() {
    return choices.stream().mapToInt(Encoding::length).max().orElse(0);
  }

  @Override
  public void addTo(Batch batch) {
    batch.beginQuestion(label);
    for (Encoding choice : choices) {
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < choice.length(); i++) {
        batch.addToken(choice.ids()[i], i, choice.typeIds()[i], Batch.IGNORED);
      }
    }
  }

  @Override
  public int contentHash() {
    int hash = label;
    for (Encoding choice : choices) {
      hash = 31 * (31 * hash + Arrays.hashCode(choice.ids())) + Arrays.hashCode(choice.typeIds());
    }
    return hash;
  }
}
