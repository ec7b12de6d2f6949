package dev.graft.data;

import dev.graft.runtime.Philox;
import dev.graft.text.Tokenizer;

/**
 * BERT's masking (Devlin et al., arXiv:1810.04805, section 3.1): each ordinary token is chosen with
 * a probability; of the chosen, 80 % become the mask token, 10 % a random one, 10 % stay. At least
 * one token of a sequence is chosen, so that none is without a label.
 */
public final class Masking {
  private final double probability;
  private final int mask;
  private final int vocabSize;

  public Masking(Tokenizer tokenizer, double probability) {
    this(probability, tokenizer.maskId(), tokenizer.vocabSize());
    if (mask < 0) {
      throw new dev.graft.io.InvalidInputException("the tokenizer has no mask token");
    }
  }

  Masking(double probability, int mask, int vocabSize) {
    if (!(probability > 0 && probability < 1)) {
      throw new IllegalArgumentException(
          "masking probability: expected a number between 0 and 1, got " + probability);
    }
    this.probability = probability;
    this.mask = mask;
    this.vocabSize = vocabSize;
  }

  /**
   * Masks a sequence in place.
   *
   * @param ids tokens of the sequence, changed
   * @param special where {@code true}, a token is never chosen
   * @param labels filled with the original token where chosen, else {@link Batch#IGNORED}
   */
  void apply(Philox random, int[] ids, boolean[] special, int[] labels, int length) {
    int candidates = 0;
    int chosen = 0;
    for (int i = 0; i < length; i++) {
      labels[i] = Batch.IGNORED;
      if (!special[i]) {
        candidates++;
        if (random.nextDouble() < probability) {
          choose(random, ids, labels, i);
          chosen++;
        }
      }
    }
    if (chosen == 0 && candidates > 0) {
      int wanted = random.nextInt(candidates);
      for (int i = 0; i < length; i++) {
        if (!special[i] && wanted-- == 0) {
          choose(random, ids, labels, i);
          return;
        }
      }
    }
  }

  private void choose(Philox random, int[] ids, int[] labels, int at) {
    labels[at] = ids[at];
    double draw = random.nextDouble();
    if (draw < 0.8) {
      ids[at] = mask;
    } else if (draw < 0.9) {
      ids[at] = random.nextInt(vocabSize);
    }
  }

  @Override
  public String toString() {
    return "p=" + probability;
  }
}
