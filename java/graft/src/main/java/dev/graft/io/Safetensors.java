package dev.graft.io;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Reader of the safetensors format: 8 bytes header length (little endian), a JSON header, the
 * tensors' bytes. Everything the header claims is checked before a byte of data is trusted: length,
 * dtypes, shapes, ranges without holes or overlap.
 */
public final class Safetensors implements WeightSource {
  private final Path file;
  private final FileChannel channel;
  private final Map<String, TensorInfo> tensors;
  private final Map<String, String> metadata;

  private Safetensors(
      Path file,
      FileChannel channel,
      Map<String, TensorInfo> tensors,
      Map<String, String> metadata) {
    this.file = file;
    this.channel = channel;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /** Opens and validates a file. */
  public static Safetensors open(Path file) {
    FileChannel channel = null;
    try {
      channel = FileChannel.open(file, StandardOpenOption.READ);
      Safetensors opened = parse(file, channel);
      channel = null;
      return opened;
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    } finally {
      closeQuietly(channel);
    }
  }

  private static void closeQuietly(FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        // The failure that brought us here is the one to report.
      }
    }
  }

  private static Safetensors parse(Path file, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size < 8) {
      throw InvalidInputException.of(file, "not a safetensors file: " + size + " bytes");
    }
    ByteBuffer prefix = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    readFully(file, channel, 0, prefix);
    long headerLength = prefix.flip().getLong();
    if (headerLength < 2 || headerLength > InputLimits.SAFETENSORS_HEADER) {
      throw InvalidInputException.of(
          file,
          0,
          "header length " + headerLength + " is outside of 2..." + InputLimits.SAFETENSORS_HEADER);
    }
    if (8 + headerLength > size) {
      throw InvalidInputException.of(
          file, "truncated: the header needs " + (8 + headerLength) + " bytes, there are " + size);
    }
    ByteBuffer header = ByteBuffer.allocate((int) headerLength);
    readFully(file, channel, 8, header);
    ObjectNode json = Json.parseObject(file, 8, header.array());
    long data = 8 + headerLength;
    Map<String, String> metadata = new LinkedHashMap<>();
    List<TensorInfo> list = new ArrayList<>();
    json.properties()
        .forEach(
            entry -> {
              if (entry.getKey().equals("__metadata__")) {
                readMetadata(file, entry.getValue(), metadata);
              } else {
                list.add(tensor(file, entry.getKey(), entry.getValue(), data, size));
              }
            });
    checkRanges(file, list, data, size);
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    list.forEach(info -> tensors.put(info.name(), info));
    return new Safetensors(file, channel, tensors, metadata);
  }

  private static void readMetadata(Path file, JsonNode node, Map<String, String> metadata) {
    if (!node.isObject()) {
      throw InvalidInputException.of(file, "__metadata__ is not an object of texts");
    }
    for (Map.Entry<String, JsonNode> e : node.properties()) {
      if (!e.getValue().isTextual()) {
        throw InvalidInputException.of(file, "__metadata__: " + e.getKey() + " is not a text");
      }
      metadata.put(e.getKey(), e.getValue().asText());
    }
  }

  private static TensorInfo tensor(Path file, String name, JsonNode node, long data, long size) {
    String dtype = node.path("dtype").asText("");
    int bytes = TensorInfo.elementBytes(dtype);
    if (bytes == 0) {
      throw InvalidInputException.of(file, "tensor " + name + ": unknown dtype '" + dtype + "'");
    }
    JsonNode shapeNode = node.path("shape");
    JsonNode offsets = node.path("data_offsets");
    if (!shapeNode.isArray() || !offsets.isArray() || offsets.size() != 2) {
      throw InvalidInputException.of(
          file, "tensor " + name + ": expected 'shape' and two 'data_offsets'");
    }
    long[] shape = new long[shapeNode.size()];
    long needed = bytes;
    for (int i = 0; i < shape.length; i++) {
      shape[i] = whole(file, name, shapeNode.get(i));
      try {
        needed = Math.multiplyExact(needed, shape[i]);
      } catch (ArithmeticException e) {
        throw InvalidInputException.of(file, "tensor " + name + ": shape overflows");
      }
    }
    long begin = whole(file, name, offsets.get(0));
    long end = whole(file, name, offsets.get(1));
    if (begin > end || end > size - data) {
      throw InvalidInputException.of(
          file,
          "tensor "
              + name
              + ": bytes "
              + begin
              + ".."
              + end
              + " lie outside of the "
              + (size - data)
              + " bytes of data (truncated?)");
    }
    if (end - begin != needed) {
      throw InvalidInputException.of(
          file,
          "tensor " + name + ": its shape needs " + needed + " bytes, it has " + (end - begin));
    }
    return new TensorInfo(name, dtype, shape, data + begin, data + end);
  }

  private static long whole(Path file, String name, JsonNode node) {
    if (node == null || !node.isIntegralNumber() || !node.canConvertToLong() || node.asLong() < 0) {
      throw InvalidInputException.of(
          file, "tensor " + name + ": expected a whole number, got " + node);
    }
    return node.asLong();
  }

  private static void checkRanges(Path file, List<TensorInfo> list, long data, long size) {
    List<TensorInfo> sorted = new ArrayList<>(list);
    sorted.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
    long at = data;
    for (TensorInfo info : sorted) {
      if (info.begin() != at) {
        throw InvalidInputException.of(
            file,
            at,
            "tensor "
                + info.name()
                + (info.begin() < at ? " overlaps the one before" : " leaves a hole before it"));
      }
      at = info.end();
    }
    if (at != size) {
      throw InvalidInputException.of(file, at, (size - at) + " bytes behind the last tensor");
    }
  }

  @Override
  public Path file() {
    return file;
  }

  /** Names in the header's order. */
  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  @Override
  public boolean contains(String name) {
    return tensors.containsKey(name);
  }

  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  /** What the header says of one tensor. */
  public TensorInfo info(String name) {
    TensorInfo info = tensors.get(name);
    if (info == null) {
      throw InvalidInputException.of(file, "there is no tensor " + name);
    }
    return info;
  }

  @Override
  public long[] shape(String name) {
    return info(name).shape();
  }

  @Override
  public long storedCount() {
    return tensors.values().stream().mapToLong(TensorInfo::count).sum();
  }

  /** The bytes of a tensor of at most 2 GB, mapped, little endian. */
  public ByteBuffer buffer(String name) {
    TensorInfo info = info(name);
    if (info.byteSize() > Integer.MAX_VALUE) {
      throw InvalidInputException.of(
          file, "tensor " + name + " is larger than 2 GB; read it in parts");
    }
    if (!channel.isOpen()) {
      throw new IllegalStateException(file + " was closed");
    }
    try {
      return channel
          .map(FileChannel.MapMode.READ_ONLY, info.begin(), info.byteSize())
          .order(ByteOrder.LITTLE_ENDIAN);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /**
   * Reads bytes of a tensor from {@code offset} on until {@code to} is full.
   *
   * @throws IllegalStateException if this was closed
   */
  public void read(String name, long offset, ByteBuffer to) {
    TensorInfo info = info(name);
    if (offset < 0 || offset > info.byteSize() - to.remaining()) {
      throw new IndexOutOfBoundsException(
          name + ": " + to.remaining() + " bytes from " + offset + " on of " + info.byteSize());
    }
    if (!channel.isOpen()) {
      throw new IllegalStateException(file + " was closed");
    }
    try {
      readFully(file, channel, info.begin() + offset, to);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** A floating-point tensor of at most 2^31 − 1 elements as floats. */
  public float[] floats(String name) {
    return floats(name, 0, intCount(info(name)));
  }

  private int intCount(TensorInfo info) {
    if (info.count() > Integer.MAX_VALUE - 8) {
      throw InvalidInputException.of(
          file, "tensor " + info.name() + " has more than 2^31 elements; read it in parts");
    }
    return (int) info.count();
  }

  @Override
  public float[] floats(String name, long first, int count) {
    TensorInfo info = info(name);
    Floats.requireFloats(file, name, info.dtype());
    if (first < 0 || count < 0 || first > info.count() - count) {
      throw new IndexOutOfBoundsException(
          name + ": " + count + " elements from " + first + " on of " + info.count());
    }
    return Floats.read(info.dtype(), (offset, to) -> read(name, offset, to), first, count);
  }

  /** An integer or boolean tensor of at most 2 GB as ints. */
  public int[] ints(String name) {
    TensorInfo info = info(name);
    switch (info.dtype()) {
      case "I64", "I32", "I16", "I8", "U16", "U8", "BOOL" -> {}
      default ->
          throw InvalidInputException.of(
              file, "tensor " + name + ": expected whole numbers, got " + info.dtype());
    }
    int[] out = new int[intCount(info)];
    ByteBuffer raw = buffer(name);
    for (int i = 0; i < out.length; i++) {
      long value =
          switch (info.dtype()) {
            case "I64" -> raw.getLong();
            case "I32" -> raw.getInt();
            case "I16" -> raw.getShort();
            case "U16" -> raw.getShort() & 0xFFFF;
            case "I8" -> raw.get();
            default -> raw.get() & 0xFF;
          };
      if (value != (int) value) {
        throw InvalidInputException.of(
            file, "tensor " + name + ": " + value + " does not fit 32 bits");
      }
      out[i] = (int) value;
    }
    return out;
  }

  static void readFully(Path file, FileChannel channel, long at, ByteBuffer to) throws IOException {
    long position = at;
    while (to.hasRemaining()) {
      int read = channel.read(to, position);
      if (read < 0) {
        throw InvalidInputException.of(file, position, "the file ends here (truncated)");
      }
      position += read;
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }
}
