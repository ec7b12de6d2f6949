package dev.graft.data;

import dev.graft.text.Encoding;
import java.util.Arrays;

/**
 * A text in tokens with a number for each output: 0 or 1 for labels, any for a regression.
 *
 * @param values as many as the model has outputs
 */
public record ValuedText(Encoding text, float[] values) implements Example {
  @Override
  public int sequences() {
    return 1;
  }

  @Override
  public int tokens() {
    return text.length();
  }

  @Override
  public int longest() {
    return text.length();
  }

  @Override
  public void addTo(Batch batch) {
    batch.beginSequence(Batch.IGNORED);
    batch.targets(values);
    for (int i = 0; i < text.length(); i++) {
      batch.addToken(text.ids()[i], i, text.typeIds()[i], Batch.IGNORED);
    }
  }

  @Override
  public int contentHash() {
    int hash = 31 * Arrays.hashCode(text.ids()) + Arrays.hashCode(text.typeIds());
    return 31 * hash + Arrays.hashCode(values);
  }
}
