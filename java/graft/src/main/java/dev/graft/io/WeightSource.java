package dev.graft.io;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * The tensors of a checkpoint by name, whatever format and files hold them. What a file claims of
 * itself is checked when it is opened; a broken or hostile one ends in an {@link
 * InvalidInputException}.
 */
public interface WeightSource extends AutoCloseable {
  /** Files of weights in the order they are looked for: safetensors before PyTorch's. */
  List<String> FILES =
      List.of(
          "model.safetensors",
          "model.safetensors.index.json",
          "pytorch_model.bin",
          "pytorch_model.bin.index.json");

  /**
   * Opens the weights of a model directory: the first of {@link #FILES} that is there.
   *
   * @throws InvalidInputException if there is none, or it cannot be read
   */
  static WeightSource open(Path directory) {
    for (String name : FILES) {
      Path file = directory.resolve(name);
      if (Files.exists(file)) {
        if (name.endsWith(".json")) {
          return ShardedWeights.open(file);
        }
        return openFile(file);
      }
    }
    throw InvalidInputException.of(
        directory, "there are no weights here: expected one of " + String.join(", ", FILES));
  }

  /** Opens one file by the end of its name: {@code .safetensors}, anything else is PyTorch's. */
  static WeightSource openFile(Path file) {
    return file.toString().endsWith(".safetensors")
        ? Safetensors.open(file)
        : PytorchCheckpoint.open(file);
  }

  /** What messages name. */
  Path file();

  Set<String> names();

  default boolean contains(String name) {
    return names().contains(name);
  }

  /** Sizes of a tensor's axes. */
  long[] shape(String name);

  /** Number of elements. */
  default long count(String name) {
    long count = 1;
    for (long size : shape(name)) {
      count *= size;
    }
    return count;
  }

  /**
   * Numbers the files hold, one that several tensors share counted once: no checkpoint can ask for
   * more memory than it brings.
   */
  long storedCount();

  /** Elements {@code [first, first + count)} of a floating-point tensor, row after row. */
  float[] floats(String name, long first, int count);

  @Override
  void close();
}
