package dev.graft.bench;

import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** {@link dev.graft.model.Gpt2} from libtorch's ops. */
final class Gpt2Twin extends Twin {
  private static final int EMBEDDING_DROPOUT = 1;

  private final Gpt2Config config;

  Gpt2Twin(Network network, Gpt2Config config, ScalarType precision) {
    super(network, precision);
    this.config = config;
  }

  /** The network's numbering of its dropouts: 1 attention's, 2 of its output, 3 of the MLP's. */
  private static int opId(int layer, int place) {
    return EMBEDDING_DROPOUT + 1 + 4 * layer + place;
  }

  /** x · W + b, of weights [in, out] as GPT-2 keeps them. */
  private Tensor conv1d(String name, Tensor x) {
    return torch.addmm(weight(name + ".bias"), x, weight(name + ".weight"));
  }

  @Override
  Pass forward(PaddedBatch batch, Masks masks) {
    Tensor h =
        embedding("transformer.wte.weight", batch.ids)
            .add(embedding("transformer.wpe.weight", batch.positions));
    h = dropTokens(masks, EMBEDDING_DROPOUT, config.embdDropout(), h);
    for (int l = 0; l < config.layers(); l++) {
      String at = "transformer.h." + l + ".";
      Tensor[] qkv =
          thirds(conv1d(at + "attn.c_attn", norm(at + "ln_1", h, config.layerNormEps())));
      Tensor attended =
          attention(
              batch,
              qkv[0],
              qkv[1],
              qkv[2],
              config.heads(),
              true,
              masks,
              opId(l, 1),
              config.attnDropout());
      Tensor projected = conv1d(at + "attn.c_proj", attended);
      h = h.add(dropTokens(masks, opId(l, 2), config.residDropout(), projected));
      Tensor inner = conv1d(at + "mlp.c_fc", norm(at + "ln_2", h, config.layerNormEps()));
      Tensor outer = conv1d(at + "mlp.c_proj", activation(config.activation(), inner));
      h = h.add(dropTokens(masks, opId(l, 3), config.residDropout(), outer));
    }
    Tensor last = norm("transformer.ln_f", h, config.layerNormEps());
    Tensor head = weight(config.tiedHead() ? "transformer.wte.weight" : "lm_head.weight");
    Tensor logits = torch.linear(last, head);
    Tensor loss = losses.classes(logits, batch.labels, batch.labelledCells.numel());
    return new Pass(loss, Map.of(Rows.TOKENS, logits));
  }
}
