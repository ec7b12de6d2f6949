package dev.graft.apply;

import dev.graft.apply.EmbeddingOptions.Pooling;
import dev.graft.data.EncodedTexts;
import dev.graft.data.LabelledExample;
import dev.graft.model.Network;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Texts as vectors. Serves one thread. Texts longer than the model are cut; the log says so. */
public final class TextEmbedder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TextEmbedder.class);

  private final Network network;
  private final Tokenizer tokenizer;
  private final int maxLength;
  private final PackedForward forward;

  /**
   * @param maxLength longest text in tokens; at most the model's positions
   * @param batchSize texts computed together
   */
  public TextEmbedder(Network network, Tokenizer tokenizer, int maxLength, int batchSize) {
    this.network = network;
    this.tokenizer = tokenizer;
    this.maxLength = Math.min(maxLength, network.config().maxPositions());
    this.forward = new PackedForward(network, this.maxLength, batchSize);
  }

  /** The mean of each text's last hidden states, in order: [C] each. */
  public List<float[]> embed(List<String> texts) {
    return embed(texts, EmbeddingOptions.defaults());
  }

  /** A vector for each text, in order: [C] each. */
  public List<float[]> embed(List<String> texts, EmbeddingOptions options) {
    List<float[]> vectors = new ArrayList<>(texts.size());
    int most = options.maxLength() == 0 ? maxLength : Math.min(maxLength, options.maxLength());
    for (float[][] states : states(texts, most)) {
      float[] vector = options.pooling() == Pooling.CLS ? states[0] : mean(states);
      vectors.add(options.normalized() ? normalized(vector) : vector);
    }
    return vectors;
  }

  private static float[] mean(float[][] states) {
    float[] mean = new float[states[0].length];
    for (int c = 0; c < mean.length; c++) {
      double sum = 0;
      for (float[] row : states) {
        sum += row[c];
      }
      mean[c] = (float) (sum / states.length);
    }
    return mean;
  }

  private static float[] normalized(float[] vector) {
    double squares = 0;
    for (float x : vector) {
      squares += (double) x * x;
    }
    double scale = squares == 0 ? 0 : 1 / Math.sqrt(squares);
    float[] out = new float[vector.length];
    for (int c = 0; c < out.length; c++) {
      out[c] = (float) (vector[c] * scale);
    }
    return out;
  }

  /** The last hidden states of a text: [T][C]. */
  public float[][] hiddenStates(String text) {
    return states(List.of(text), maxLength).get(0);
  }

  private List<float[][]> states(List<String> texts, int most) {
    List<float[][]> out = new ArrayList<>(texts.size());
    List<LabelledExample> examples =
        texts.stream().map(text -> new LabelledExample(text, null)).toList();
    EncodedTexts encoded = EncodedTexts.of(tokenizer, examples, most);
    if (encoded.truncated() > 0) {
      LOG.warn(
          "{} of {} texts are longer than {} tokens and were cut",
          encoded.truncated(),
          texts.size(),
          most);
    }
    int channels = network.config().channels();
    forward.run(
        encoded.encodings(),
        (step, batch) -> {
          float[] rows = step.hidden(batch);
          for (int s = 0; s < batch.liveSequences; s++) {
            int from = batch.cuSeqlens[s];
            float[][] states = new float[batch.cuSeqlens[s + 1] - from][];
            for (int t = 0; t < states.length; t++) {
              int at = (from + t) * channels;
              states[t] = Arrays.copyOfRange(rows, at, at + channels);
            }
            out.add(states);
          }
        });
    return out;
  }

  @Override
  public void close() {
    forward.close();
  }
}
