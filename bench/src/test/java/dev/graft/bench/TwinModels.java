package dev.graft.bench;

import dev.graft.model.BertConfig;
import dev.graft.model.EncoderFamily;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.Arrays;
import java.util.List;

/** Small networks of every family and head, with dropout to switch on, and random weights. */
final class TwinModels {
  /** Some deviations of what a dense layer gives here. */
  private static final float CLEAR = 6;

  private TwinModels() {}

  /** Makes a network; each draw has its own weights. */
  interface Maker {
    Network make(Device device, DType dtype, int draw);
  }

  static Maker gpt2(int heads, int headDim, String activation, boolean tied) {
    return (device, dtype, draw) -> {
      Gpt2Config base = Gpt2Config.of(97, 64, heads * headDim, 2, heads);
      Gpt2Config config =
          new Gpt2Config(
              base.vocabSize(),
              base.maxPositions(),
              base.channels(),
              base.layers(),
              base.heads(),
              3 * base.channels() + 5,
              activation,
              base.layerNormEps(),
              0.2,
              0.1,
              0.3,
              base.initializerRange(),
              tied,
              -1,
              -1);
      return random(Network.create(device, config, Task.CAUSAL_LM, dtype, 1), draw);
    };
  }

  static Maker bert(int heads, int headDim, String activation, Task task) {
    return encoder(
        EncoderFamily.BERT,
        heads,
        headDim,
        activation,
        task,
        ProblemType.SINGLE_LABEL_CLASSIFICATION,
        true);
  }

  /** A family's head, of three labels. */
  static Maker encoder(EncoderFamily family, Task task, ProblemType problem) {
    return encoder(family, 3, 16, "gelu", task, problem, true);
  }

  /** The masked-word head of a family, with a projection of its own. */
  static Maker untied(EncoderFamily family) {
    return encoder(
        family, 2, 32, "gelu", Task.MASKED_LM, ProblemType.SINGLE_LABEL_CLASSIFICATION, false);
  }

  private static Maker encoder(
      EncoderFamily family,
      int heads,
      int headDim,
      String activation,
      Task task,
      ProblemType problem,
      boolean tied) {
    return (device, dtype, draw) -> {
      int channels = heads * headDim;
      boolean distilBert = family == EncoderFamily.DISTILBERT;
      BertConfig config =
          new BertConfig(
              family,
              131,
              80,
              channels,
              2,
              heads,
              2 * channels + 7,
              distilBert ? 0 : family == EncoderFamily.ROBERTA ? 1 : 2,
              activation,
              1e-12,
              0.1,
              0.2,
              0.3,
              distilBert ? 0.25 : 0,
              0.02,
              family == EncoderFamily.ROBERTA ? 1 : 0,
              !distilBert,
              tied,
              task.hasLabels() ? List.of("a", "b", "c") : List.of(),
              problem);
      return random(Network.create(device, config, task, dtype, 1), draw);
    };
  }

  /** Fills every weight, biases and norms too, so that each has a gradient that tells. */
  private static Network random(Network network, int draw) {
    int stream = 2;
    for (Parameter p : network.parameters().all()) {
      boolean norm = p.name().matches(".*(LayerNorm|layer_norm|ln_\\w+)\\.weight");
      double scale = p.matrix() ? 1 / Math.sqrt(network.config().channels()) : 0.2;
      Philox random = new Philox(TwinBatches.SEED, stream++, draw);
      float[] values = new float[Math.toIntExact(p.weight().count())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) ((norm ? 1 : 0) + scale * random.nextGaussian());
        if (p.name().equals("pre_classifier.bias")) {
          // The derivative of its ReLU jumps at 0, where one rounding turns a whole gradient: half
          // of it is well above, half well below.
          values[i] += i % 2 == 0 ? CLEAR : -CLEAR;
        }
      }
      // Rows that pad a vocabulary stay zero.
      for (Part part : p.parts()) {
        int from = Math.toIntExact(part.offset());
        p.weight()
            .put(from, Arrays.copyOfRange(values, from, from + Math.toIntExact(part.count())));
      }
    }
    network.parameters().syncCompute();
    return network;
  }
}
