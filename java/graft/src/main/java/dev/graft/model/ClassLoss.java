package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Tensor;

/** How a network's training shapes the loss of classes; its evaluations take the plain loss. */
public final class ClassLoss implements AutoCloseable {
  /** The plain loss. */
  static final ClassLoss PLAIN = new ClassLoss(null, null, 0);

  private final Arena arena;
  private final float[] byClass;
  private final Tensor weights;
  private final float labelSmoothing;

  private ClassLoss(Arena arena, float[] byClass, float labelSmoothing) {
    this.arena = arena;
    this.byClass = byClass;
    this.labelSmoothing = labelSmoothing;
    if (byClass == null) {
      weights = null;
    } else {
      weights = arena.zeros("class weights", DType.FLOAT32, byClass.length);
      weights.put(0, byClass);
    }
  }

  /**
   * @param byClass weight of each class, or null
   * @throws InvalidInputException if the network's loss is not one of classes
   */
  static ClassLoss of(Network network, float[] byClass, double labelSmoothing) {
    if (byClass == null && labelSmoothing == 0) {
      return PLAIN;
    }
    boolean vocabulary =
        switch (network.task()) {
          case CAUSAL_LM, MASKED_LM, PRETRAINING -> true;
          default -> false;
        };
    if (!hasClasses(network) && (byClass != null || !vocabulary)) {
      throw new InvalidInputException(
          "class weights and label smoothing are for classes, this network has none ("
              + network.task()
              + ")");
    }
    Arena arena = byClass == null ? null : new Arena(network.device(), "class weights");
    return new ClassLoss(arena, byClass == null ? null : byClass.clone(), (float) labelSmoothing);
  }

  private static boolean hasClasses(Network network) {
    return network.task() == Task.TOKEN_CLASSIFICATION
        || network.task() == Task.SEQUENCE_CLASSIFICATION
            && ((BertConfig) network.config()).problemType()
                == ProblemType.SINGLE_LABEL_CLASSIFICATION;
  }

  /** fp32 [classes], or null. */
  Tensor weights() {
    return weights;
  }

  float labelSmoothing() {
    return labelSmoothing;
  }

  /** Whether classes weigh differently. */
  public boolean weighted() {
    return byClass != null;
  }

  /** The weights of a batch's labels together: what the mean divides by. */
  public double weight(Network network, Batch batch) {
    double sum = 0;
    boolean tokens = network.task() == Task.TOKEN_CLASSIFICATION;
    int[] labels = tokens ? batch.labels : batch.sequenceLabels;
    int count = tokens ? batch.liveTokens : batch.liveSequences;
    for (int i = 0; i < count; i++) {
      sum += labels[i] == Batch.IGNORED ? 0 : byClass[labels[i]];
    }
    return sum;
  }

  /** Adds how often a batch has each class. */
  public static void count(Network network, Batch batch, long[] byClass) {
    boolean tokens = network.task() == Task.TOKEN_CLASSIFICATION;
    int[] labels = tokens ? batch.labels : batch.sequenceLabels;
    int count = tokens ? batch.liveTokens : batch.liveSequences;
    for (int i = 0; i < count; i++) {
      if (labels[i] != Batch.IGNORED) {
        byClass[labels[i]]++;
      }
    }
  }

  @Override
  public void close() {
    if (arena != null) {
      arena.close();
    }
  }
}
