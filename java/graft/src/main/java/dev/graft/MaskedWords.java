package dev.graft;

import dev.graft.apply.MaskFiller;
import dev.graft.apply.Prediction;
import dev.graft.model.Network;
import java.util.List;

/** The masked-word head of a model at work, one call after the other. */
final class MaskedWords {
  private final LanguageModel model;
  private final Worker<Tool> worker;

  private record Tool(MaskFiller filler) implements AutoCloseable {
    @Override
    public void close() {}
  }

  MaskedWords(LanguageModel model) {
    this.model = model;
    this.worker = new Worker<>(model, "fillMask", model.options().threads(), this::tool);
  }

  private Tool tool(Network network) {
    return new Tool(new MaskFiller(network, model.tokenizer()));
  }

  synchronized List<List<Prediction.Scored>> fill(String text, int k) {
    return worker.call("fillMask", tool -> tool.filler().fill(text, k));
  }
}
