package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.model.Decoder;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.program.Ops.Sampling;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Map;

/** GPT-2 writing greedily, token by token, from a prompt; a run begins with the prompt. */
final class GenerationCase implements SpeedCase {
  private static final DType DTYPE = DType.BFLOAT16;
  private static final Sampling GREEDY = new Sampling(0, 0, 1, 1, 0);
  private final Gpt2Config config;
  private final int batch;
  private final int prompt;
  private final int tokens;
  private final Network network;
  private final Decoder decoder;

  GenerationCase(Device device, Gpt2Config config, int batch, int prompt, int tokens) {
    this.config = config;
    this.batch = batch;
    this.prompt = prompt;
    this.tokens = tokens;
    network = Network.create(device, config, Task.CAUSAL_LM, DTYPE, 1);
    decoder = new Decoder(network, batch, GREEDY, 1);
  }

  @Override
  public String name() {
    return "generation";
  }

  @Override
  public DType dtype() {
    return DTYPE;
  }

  @Override
  public String shape() {
    return String.format("B%d, %d tokens after %d", batch, tokens, prompt);
  }

  @Override
  public void run() {
    int[][] prompts = new int[batch][prompt];
    for (int b = 0; b < batch; b++) {
      for (int t = 0; t < prompt; t++) {
        prompts[b][t] = (b + 7 * t) % config.vocabSize();
      }
    }
    int[] next = decoder.prefill(prompts);
    for (int t = 1; t < tokens; t++) {
      next = decoder.step(next);
    }
  }

  /** One token a sequence. */
  @Override
  public int repeats() {
    return tokens;
  }

  /** The weights and the keys and values of half the way, read once. */
  @Override
  public double bytes() {
    double cached = 2.0 * config.layers() * config.channels() * (prompt + tokens / 2.0) * batch;
    return (network.parameters().count() + cached) * DTYPE.bytes();
  }

  @Override
  public int tokens() {
    return batch;
  }

  @Override
  public Map<String, ObjectNode> peers() {
    return Map.of(
        "transformers",
        Json.object()
            .put("op", "generate")
            .put("model", "gpt2")
            .put("dtype", SpeedCase.name(DTYPE))
            .put("layers", config.layers())
            .put("heads", config.heads())
            .put("channels", config.channels())
            .put("vocabulary", config.vocabSize())
            .put("positions", config.maxPositions())
            .put("batch", batch)
            .put("prompt", prompt)
            .put("tokens", tokens));
  }

  @Override
  public void close() {
    decoder.close();
    network.close();
  }
}
