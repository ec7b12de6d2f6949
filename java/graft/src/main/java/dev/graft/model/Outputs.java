package dev.graft.model;

import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.List;

/** What stays readable after a recorded step has run; null where the step does not give it. */
final class Outputs {
  /** Embeddings, then each block's output; GPT-2's last is after the final norm. [T, C] each. */
  final List<Tensor> hidden = new ArrayList<>();

  /** [T, V padded] of all rows, if asked. */
  Tensor logits;

  /** [T, K] classes of tokens, or [T, 2] beginnings and ends of answers. */
  Tensor tokenLogits;

  /** [B, labels] of sequence classification, [B, 1] of choices, or [B, 2] of next sentence. */
  Tensor sequenceLogits;

  /** [B, C] BERT's pooler. */
  Tensor pooled;

  /** [T, C] the last hidden state. */
  Tensor last;
}
