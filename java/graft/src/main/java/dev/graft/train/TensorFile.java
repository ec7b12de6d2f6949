package dev.graft.train;

import dev.graft.io.InvalidInputException;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.runtime.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;

/**
 * The tensors of a run's state as safetensors, all fp32 and exact: weights under their published
 * names (padding of the vocabulary is zero and not stored), moments as {@code m.<parameter>} and
 * {@code v.<parameter>}.
 */
final class TensorFile {
  static final String OPTIMIZER = "optimizer.safetensors";
  private static final int CHUNK = 1 << 20;

  private TensorFile() {}

  /** Master weights by published name. */
  static Map<String, Tensor> weights(Network network) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (Parameter p : network.parameters().all()) {
      for (Part part : p.parts()) {
        tensors.put(part.name(), p.weight().view(part.offset(), part.shape()));
      }
    }
    return tensors;
  }

  /** Moments of every parameter that trains. */
  static Map<String, Tensor> moments(Network network) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (Parameter p : network.parameters().all()) {
      if (p.trainable()) {
        tensors.put("m." + p.name(), p.firstMoment());
        tensors.put("v." + p.name(), p.secondMoment());
      }
    }
    return tensors;
  }

  /** Empties moments and gradients: a network may have been trained before. */
  static void clearTraining(Network network) {
    float[] zeros = new float[CHUNK];
    for (Parameter p : network.parameters().all()) {
      if (!p.trainable()) {
        continue;
      }
      for (Tensor tensor : new Tensor[] {p.firstMoment(), p.secondMoment(), p.grad()}) {
        for (long first = 0; first < tensor.count(); first += CHUNK) {
          long left = tensor.count() - first;
          tensor.put(first, left >= CHUNK ? zeros : new float[(int) left]);
        }
      }
    }
  }

  static void write(Path file, Map<String, Tensor> tensors) {
    SafetensorsWriter writer = new SafetensorsWriter();
    tensors.forEach(writer::floats);
    writer.write(file);
  }

  /**
   * Reads every tensor.
   *
   * @throws InvalidInputException if names or sizes are not exactly those of {@code tensors}
   */
  static void read(Path file, Map<String, Tensor> tensors) {
    try (Safetensors opened = Safetensors.open(file)) {
      if (!opened.names().equals(tensors.keySet())) {
        TreeSet<String> missing = new TreeSet<>(tensors.keySet());
        missing.removeAll(opened.names());
        TreeSet<String> surplus = new TreeSet<>(opened.names());
        surplus.removeAll(tensors.keySet());
        throw InvalidInputException.of(file, "missing " + missing + ", unexpected " + surplus);
      }
      tensors.forEach((name, tensor) -> read(file, opened, name, tensor));
    }
  }

  private static void read(Path file, Safetensors opened, String name, Tensor to) {
    if (opened.info(name).count() != to.count()) {
      throw InvalidInputException.of(
          file, name + ": expected " + to.count() + " elements, got " + opened.info(name).count());
    }
    for (long first = 0; first < to.count(); first += CHUNK) {
      int part = (int) Math.min(CHUNK, to.count() - first);
      to.put(first, opened.floats(name, first, part));
    }
  }
}
