package dev.graft;

import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.TrainingOptions;
import java.util.Objects;

/**
 * Where and how a model computes.
 *
 * @param device {@code cpu}, {@code cuda}, {@code cuda:N} or {@code emulate}, see {@link
 *     Device#open}
 * @param threads CPU threads; 0 for all
 * @param dtype of activations and products; weights are kept in fp32 beside it. A {@code fit}
 *     changes it to that of its options
 * @param seed of weights that are not in a checkpoint
 * @param maxLength longest text in tokens, special tokens included; longer ones are cut and
 *     counted. 0: as many as the model has positions
 */
public record ModelOptions(String device, int threads, DType dtype, long seed, int maxLength) {
  public ModelOptions {
    Objects.requireNonNull(dtype, "dtype");
    Device.requireName(device);
    if (threads < 0 || maxLength < 0 || !dtype.isFloat()) {
      throw new IllegalArgumentException(
          "model options: expected threads and maxLength of at least 0 and fp32 or bf16, got "
              + threads
              + ", "
              + maxLength
              + ", "
              + dtype.label());
    }
  }

  /** The CPU with all threads, fp32, seed 1337, the model's own length. */
  public static ModelOptions defaults() {
    return new ModelOptions("cpu", 0, DType.FLOAT32, 1337, 0);
  }

  /** Those of a model that is trained by some options. */
  static ModelOptions of(TrainingOptions training, int threads, int maxLength) {
    return new ModelOptions(
        training.device(), threads, training.dtype(), training.seed(), maxLength);
  }

  public ModelOptions withDevice(String value) {
    return new ModelOptions(value, threads, dtype, seed, maxLength);
  }

  public ModelOptions withThreads(int value) {
    return new ModelOptions(device, value, dtype, seed, maxLength);
  }

  public ModelOptions withDType(DType value) {
    return new ModelOptions(device, threads, value, seed, maxLength);
  }

  public ModelOptions withSeed(long value) {
    return new ModelOptions(device, threads, dtype, value, maxLength);
  }

  public ModelOptions withMaxLength(int value) {
    return new ModelOptions(device, threads, dtype, seed, value);
  }
}
