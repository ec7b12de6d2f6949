package dev.graft.apply;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Network;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Words for the masks of a text. Serves one thread. */
public final class MaskFiller implements AutoCloseable {
  private final Network network;
  private final Tokenizer tokenizer;
  private final PackedForward forward;

  public MaskFiller(Network network, Tokenizer tokenizer) {
    this.network = network;
    this.tokenizer = tokenizer;
    this.forward = new PackedForward(network, network.config().maxPositions(), 1);
  }

  /**
   * The k most probable words for each mask, in the order of the masks.
   *
   * @param text holds the tokenizer's mask token ({@code [MASK]}) at least once
   */
  public List<List<Prediction.Scored>> fill(String text, int k) {
    Encoding encoding = tokenizer.encode(text, true);
    int mask = tokenizer.maskId();
    int[] rows =
        java.util.stream.IntStream.range(0, encoding.length())
            .filter(i -> mask >= 0 && encoding.ids()[i] == mask)
            .toArray();
    if (rows.length == 0) {
      throw new InvalidInputException(
          "the text has no mask: write "
              + (mask < 0 ? "[MASK]" : tokenizer.token(mask))
              + " where a word is wanted");
    }
    if (encoding.length() > network.config().maxPositions()) {
      throw new InvalidInputException(
          "the text has "
              + encoding.length()
              + " tokens, the model takes "
              + network.config().maxPositions());
    }
    List<List<Prediction.Scored>> out = new ArrayList<>();
    forward.run(
        List.of(encoding),
        (step, batch) -> {
          for (float[] logits : step.vocabularyLogits(batch, rows)) {
            double[] p = Softmax.of(logits);
            out.add(
                Arrays.stream(Softmax.top(p, Math.min(k, p.length)))
                    .mapToObj(i -> new Prediction.Scored(tokenizer.token(i), p[i]))
                    .toList());
          }
        });
    return out;
  }

  @Override
  public void close() {
    forward.close();
  }
}
