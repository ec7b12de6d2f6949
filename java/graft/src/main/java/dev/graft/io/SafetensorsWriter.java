package dev.graft.io;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.runtime.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes safetensors files, atomically, a tensor at a time. Tensors of wider elements come first,
 * as the reference library orders them, so that each begins at a multiple of its element's size;
 * otherwise they keep the order they were added in.
 */
public final class SafetensorsWriter {
  private static final int CHUNK = 1 << 20;

  /** Gives elements {@code [first, first + to.length)} of a tensor. */
  @FunctionalInterface
  public interface FloatSource {
    void read(long first, float[] to);
  }

  private interface Content {
    void writeTo(FileChannel channel) throws IOException;
  }

  private record Entry(String dtype, long[] shape, long bytes, Content content) {}

  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  public SafetensorsWriter() {
    // The reference library refuses files that do not say which framework's layout they hold.
    metadata.put("format", "pt");
  }

  public SafetensorsWriter metadata(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  /** An fp32 tensor given at once. */
  public SafetensorsWriter floats(String name, float[] values, long... shape) {
    return floats(
        name,
        (first, to) -> System.arraycopy(values, Math.toIntExact(first), to, 0, to.length),
        shape);
  }

  /** A tensor in memory, read in parts while the file is written. */
  public SafetensorsWriter floats(String name, Tensor tensor) {
    return floats(
        name,
        (first, to) -> System.arraycopy(tensor.floats(first, to.length), 0, to, 0, to.length),
        tensor.shape());
  }

  /** An fp32 tensor read in parts while the file is written. */
  public SafetensorsWriter floats(String name, FloatSource source, long... shape) {
    long count = count(shape);
    return put(
        name,
        new Entry(
            "F32",
            shape.clone(),
            Math.multiplyExact(count, 4L),
            channel -> {
              ByteBuffer bytes = ByteBuffer.allocate(4 * CHUNK).order(ByteOrder.LITTLE_ENDIAN);
              for (long first = 0; first < count; first += CHUNK) {
                float[] part = new float[(int) Math.min(CHUNK, count - first)];
                source.read(first, part);
                bytes.clear();
                bytes.asFloatBuffer().put(part);
                bytes.limit(4 * part.length);
                AtomicFiles.writeFully(channel, bytes);
              }
            }));
  }

  /** Raw bytes of a dtype the format knows. */
  public SafetensorsWriter add(String name, String dtype, ByteBuffer bytes, long... shape) {
    ByteBuffer data = bytes.duplicate();
    if (TensorInfo.elementBytes(dtype) == 0) {
      throw new IllegalArgumentException(name + ": unknown dtype '" + dtype + "'");
    }
    if (TensorInfo.elementBytes(dtype) * count(shape) != data.remaining()) {
      throw new IllegalArgumentException(
          name + ": " + data.remaining() + " bytes do not fit the shape");
    }
    return put(
        name,
        new Entry(
            dtype,
            shape.clone(),
            data.remaining(),
            channel -> AtomicFiles.writeFully(channel, data.duplicate())));
  }

  private SafetensorsWriter put(String name, Entry entry) {
    if (name.equals("__metadata__")) {
      throw new IllegalArgumentException("a tensor cannot be named " + name);
    }
    if (entries.putIfAbsent(name, entry) != null) {
      throw new IllegalArgumentException("tensor " + name + " was added twice");
    }
    return this;
  }

  private static long count(long[] shape) {
    long count = 1;
    for (long size : shape) {
      if (size < 0) {
        throw new IllegalArgumentException("negative size in the shape " + Arrays.toString(shape));
      }
      count = Math.multiplyExact(count, size);
    }
    return count;
  }

  /** Writes the file. */
  public void write(Path file) {
    ObjectNode header = Json.object();
    ObjectNode meta = header.putObject("__metadata__");
    metadata.forEach(meta::put);
    long at = 0;
    List<Map.Entry<String, Entry>> ordered = new ArrayList<>(entries.entrySet());
    ordered.sort(Comparator.comparingInt(e -> -TensorInfo.elementBytes(e.getValue().dtype())));
    for (Map.Entry<String, Entry> e : ordered) {
      ObjectNode node = header.putObject(e.getKey());
      node.put("dtype", e.getValue().dtype());
      ArrayNode shape = node.putArray("shape");
      for (long size : e.getValue().shape()) {
        shape.add(size);
      }
      node.putArray("data_offsets").add(at).add(at + e.getValue().bytes());
      at += e.getValue().bytes();
    }
    byte[] json = Json.line(header).getBytes(StandardCharsets.UTF_8);
    // The data begins at a multiple of 8, so that it can be mapped as any type.
    int padded = (json.length + 7) / 8 * 8;
    ByteBuffer head = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN);
    head.putLong(padded).put(json);
    while (head.hasRemaining()) {
      head.put((byte) ' ');
    }
    head.flip();
    AtomicFiles.write(
        file,
        channel -> {
          AtomicFiles.writeFully(channel, head);
          for (Map.Entry<String, Entry> e : ordered) {
            e.getValue().content().writeTo(channel);
          }
        });
  }
}
