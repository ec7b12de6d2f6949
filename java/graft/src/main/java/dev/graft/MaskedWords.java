package dev.graft;

import dev.graft.apply.MaskFiller;
import dev.graft.apply.Prediction;
import java.util.List;

/** The masked-word head of a model at work, one call after the other. */
final class MaskedWords {
  private final Worker<MaskFiller> worker;

  MaskedWords(LanguageModel model) {
    this.worker =
        new Worker<>(
            model,
            "fillMask",
            model.options().threads(),
            network -> new MaskFiller(network, model.tokenizer()));
  }

  synchronized List<List<Prediction.Scored>> fill(String text, int k) {
    return worker.call("fillMask", filler -> filler.fill(text, k));
  }
}
