package dev.graft.model;

import dev.graft.io.InvalidInputException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Shapes by name. GPT-2's small to xl are the published ones (Radford et al. 2019, table 2); micro
 * and mini are minGPT's. BERT's base and large are the published ones (Devlin et al.,
 * arXiv:1810.04805, section 3), tiny to medium those of Turc et al., arXiv:1908.08962. The
 * vocabulary size is left to the tokenizer: it is 1 here.
 */
public final class Presets {
  private static final int ANY_VOCABULARY = 1;

  private Presets() {}

  /** GPT-2's shapes, small ones first. */
  public static Map<String, Gpt2Config> gpt2() {
    Map<String, Gpt2Config> shapes = new LinkedHashMap<>();
    shapes.put("micro", gpt2(4, 4, 128, 128));
    shapes.put("mini", gpt2(6, 6, 192, 256));
    shapes.put("small", gpt2(12, 12, 768, 1024));
    shapes.put("medium", gpt2(24, 16, 1024, 1024));
    shapes.put("large", gpt2(36, 20, 1280, 1024));
    shapes.put("xl", gpt2(48, 25, 1600, 1024));
    return shapes;
  }

  /** BERT's shapes, small ones first. */
  public static Map<String, BertConfig> bert() {
    Map<String, BertConfig> shapes = new LinkedHashMap<>();
    shapes.put("tiny", bert(2, 2, 128));
    shapes.put("mini", bert(4, 4, 256));
    shapes.put("small", bert(4, 8, 512));
    shapes.put("medium", bert(8, 8, 512));
    shapes.put("base", bert(12, 12, 768));
    shapes.put("large", bert(24, 16, 1024));
    return shapes;
  }

  /**
   * A shape by its name.
   *
   * @param family {@code "gpt2"} or {@code "bert"}
   */
  public static ModelConfig of(String family, String size) {
    Map<String, ? extends ModelConfig> shapes = family.equals("gpt2") ? gpt2() : bert();
    ModelConfig config = shapes.get(size);
    if (config == null) {
      throw new InvalidInputException(
          "the sizes of " + family + " are " + shapes.keySet() + ", not '" + size + "'");
    }
    return config;
  }

  private static Gpt2Config gpt2(int layers, int heads, int channels, int positions) {
    return Gpt2Config.of(ANY_VOCABULARY, positions, channels, layers, heads);
  }

  private static BertConfig bert(int layers, int heads, int channels) {
    return BertConfig.of(ANY_VOCABULARY, 512, channels, layers, heads, 4 * channels);
  }
}
