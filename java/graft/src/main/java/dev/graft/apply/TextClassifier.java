package dev.graft.apply;

import dev.graft.data.EncodedTexts;
import dev.graft.data.LabelledExample;
import dev.graft.model.BertConfig;
import dev.graft.model.Network;
import dev.graft.model.ProblemType;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Classes, labels or numbers of texts. Cheap beside the network it reads; serves one thread. Texts
 * longer than the model takes are cut at its longest, as in training, and their predictions say so.
 */
public final class TextClassifier implements AutoCloseable {
  /** Texts encoded at a time. */
  private static final int CHUNK = 4096;

  private final Network network;
  private final Tokenizer tokenizer;
  private final int maxLength;
  private final PackedForward forward;

  /**
   * @param maxLength longest text in tokens; at most the model's positions
   * @param batchSize most texts computed together
   */
  public TextClassifier(Network network, Tokenizer tokenizer, int maxLength, int batchSize) {
    this.network = network;
    this.tokenizer = tokenizer;
    this.maxLength = Math.min(maxLength, network.config().maxPositions());
    this.forward = new PackedForward(network, this.maxLength, batchSize);
  }

  /** The k most probable classes of each text. */
  public List<Prediction> predict(List<LabelledExample> texts, int k) {
    List<Prediction> out = new ArrayList<>(texts.size());
    for (int from = 0; from < texts.size(); from += CHUNK) {
      List<LabelledExample> part = texts.subList(from, Math.min(from + CHUNK, texts.size()));
      EncodedTexts encoded = EncodedTexts.of(tokenizer, part, maxLength);
      List<float[]> logits = logits(encoded.encodings());
      for (int i = 0; i < part.size(); i++) {
        out.add(prediction(logits.get(i), k, encoded.isTruncated(i)));
      }
    }
    return out;
  }

  private Prediction prediction(float[] logits, int k, boolean truncated) {
    ProblemType type = ((BertConfig) network.config()).problemType();
    if (type == ProblemType.REGRESSION) {
      List<Double> values =
          IntStream.range(0, logits.length).mapToObj(i -> (double) logits[i]).toList();
      return new Prediction(List.of(), values, truncated);
    }
    double[] p =
        type == ProblemType.SINGLE_LABEL_CLASSIFICATION
            ? Softmax.of(logits)
            : IntStream.range(0, logits.length)
                .mapToDouble(i -> Softmax.sigmoid(logits[i]))
                .toArray();
    List<String> names = network.config().labels();
    return new Prediction(
        Arrays.stream(Softmax.top(p, Math.min(k, p.length)))
            .mapToObj(i -> new Prediction.Scored(names.get(i), p[i]))
            .toList(),
        truncated);
  }

  /** Class logits of each text, in order. */
  public List<float[]> logits(List<Encoding> texts) {
    List<float[]> out = new ArrayList<>(texts.size());
    forward.run(texts, (step, batch) -> out.addAll(List.of(step.classify(batch))));
    return out;
  }

  @Override
  public void close() {
    forward.close();
  }
}
