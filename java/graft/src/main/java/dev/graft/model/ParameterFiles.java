package dev.graft.model;

import dev.graft.io.InvalidInputException;
import dev.graft.io.SafetensorsWriter;
import dev.graft.io.WeightSource;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.runtime.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** Weights between networks and files, under their published names. */
final class ParameterFiles {
  private static final int CHUNK = 1 << 20;

  private ParameterFiles() {}

  /** What {@link #load} did with the file. */
  record Loaded(List<String> missing, List<String> unused) {}

  /**
   * Reads the parameters a checkpoint holds, under any of {@link PublishedNames#of}.
   *
   * @return names it does not hold (their weights are left as they are) and names nobody asked for
   */
  static Loaded load(Parameters parameters, WeightSource file) {
    Set<String> unused = new TreeSet<>(file.names());
    List<String> missing = new ArrayList<>();
    for (Parameter p : parameters.base()) {
      for (Part part : p.parts()) {
        String key = PublishedNames.find(file, part.name());
        if (key == null) {
          missing.add(part.name());
          continue;
        }
        unused.remove(key);
        parameters.readAs(part.name(), key);
        long[] shape = file.shape(key);
        if (!Arrays.equals(shape, part.shape())) {
          throw InvalidInputException.of(
              file.file(),
              "tensor "
                  + key
                  + ": expected shape "
                  + Arrays.toString(part.shape())
                  + " by config.json, got "
                  + Arrays.toString(shape));
        }
        for (long first = 0; first < part.count(); first += CHUNK) {
          int length = (int) Math.min(CHUNK, part.count() - first);
          p.weight().put(part.offset() + first, file.floats(key, first, length));
        }
      }
    }
    parameters.syncCompute();
    return new Loaded(missing, new ArrayList<>(unused));
  }

  /**
   * Takes over the master weights of published tensors that both have in the same shape.
   *
   * @return names {@code from} has not; their weights are left as they are
   */
  static List<String> copy(Parameters from, Parameters to) {
    Map<String, Tensor> source = new LinkedHashMap<>();
    for (Parameter p : from.all()) {
      p.parts()
          .forEach(part -> source.put(part.name(), p.weight().view(part.offset(), part.shape())));
    }
    List<String> missing = new ArrayList<>();
    for (Parameter p : to.all()) {
      for (Part part : p.parts()) {
        Tensor tensor = source.get(part.name());
        if (tensor == null || !Arrays.equals(tensor.shape(), part.shape())) {
          missing.add(part.name());
          continue;
        }
        for (long first = 0; first < part.count(); first += CHUNK) {
          int length = (int) Math.min(CHUNK, part.count() - first);
          p.weight().put(part.offset() + first, tensor.floats(first, length));
        }
      }
    }
    to.syncCompute();
    return missing;
  }

  /** Writes the master weights, fp32, adapters added to them. */
  static void save(Parameters parameters, Path file) {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (Parameter p : parameters.base()) {
      for (Part part : p.parts()) {
        List<LowRank.Product> products = new ArrayList<>();
        for (LowRank adapter : p.adapters()) {
          if (adapter.part.name().equals(part.name())) {
            products.add(adapter.new Product());
          }
        }
        SafetensorsWriter.FloatSource source =
            (first, to) -> {
              float[] read = p.weight().floats(part.offset() + first, to.length);
              products.forEach(product -> product.addTo(first, read));
              System.arraycopy(read, 0, to, 0, to.length);
            };
        for (String name : PublishedNames.written(part.name())) {
          writer.floats(name, source, part.shape());
        }
      }
    }
    writer.write(file);
  }
}
