package dev.graft.io;

import dev.graft.io.PytorchObjects.Storage;
import dev.graft.io.PytorchObjects.View;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Reader of {@code pytorch_model.bin}: what {@code torch.save} writes of a dictionary of tensors,
 * since 1.6 a zip archive of a pickle and the storages, before it pickles and storages one after
 * the other. The pickle is interpreted, not executed: {@link PickleReader} knows tensors alone.
 */
public final class PytorchCheckpoint implements WeightSource {
  private static final int ZIP = 0x04034b50;
  private static final int PICKLE = 0x80;
  private static final BigInteger LEGACY_MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
  private static final long LEGACY_PROTOCOL = 1001;
  private static final String PICKLE_ENTRY = "data.pkl";

  /** Where a storage's bytes stand; the entry is null in the older form, which has no checksums. */
  private record Region(long begin, StoredZip.Entry unverified) {}

  private final Path file;
  private final FileChannel channel;
  private final Map<String, View> tensors = new LinkedHashMap<>();
  private final Map<String, Region> regions = new LinkedHashMap<>();
  private final PytorchObjects objects;
  private StoredZip zip;

  /** Of the tensor read last that does not stand in one piece, so that reading in parts is fast. */
  private String gatheredName;

  private float[] gathered;

  private PytorchCheckpoint(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
    this.objects = new PytorchObjects(file);
  }

  /** Opens and validates a file. */
  public static PytorchCheckpoint open(Path file) {
    PytorchCheckpoint opened = null;
    boolean complete = false;
    try {
      opened = new PytorchCheckpoint(file, FileChannel.open(file, StandardOpenOption.READ));
      opened.parse();
      complete = true;
      return opened;
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    } finally {
      if (opened != null && !complete) {
        opened.closeQuietly();
      }
    }
  }

  private void closeQuietly() {
    try {
      channel.close();
    } catch (IOException e) {
      // The failure that brought us here is the one to report.
    }
  }

  private void parse() throws IOException {
    ByteBuffer first = ByteBuffer.allocate(4);
    if (channel.size() >= first.capacity()) {
      Safetensors.readFully(file, channel, 0, first);
    }
    Object root;
    if (Integer.reverseBytes(first.getInt(0)) == ZIP) {
      root = parseZip();
    } else if (Byte.toUnsignedInt(first.get(0)) == PICKLE) {
      root = parseLegacy();
    } else {
      throw InvalidInputException.of(
          file, "neither a zip archive nor a pickle: not a checkpoint of PyTorch");
    }
    if (!(root instanceof Map<?, ?> map)) {
      throw InvalidInputException.of(file, "expected a dictionary of tensors");
    }
    map.forEach(
        (name, value) -> {
          if (name instanceof String text && value instanceof View view) {
            tensors.put(text, view);
          }
        });
    if (tensors.isEmpty()) {
      throw InvalidInputException.of(file, "there is no tensor in the dictionary it holds");
    }
  }

  // ---- since 1.6

  private Object parseZip() throws IOException {
    zip = new StoredZip(file, channel);
    List<String> pickles =
        zip.entries().keySet().stream()
            .filter(name -> name.equals(PICKLE_ENTRY) || name.endsWith("/" + PICKLE_ENTRY))
            .toList();
    if (pickles.size() != 1) {
      throw InvalidInputException.of(
          file, "expected one " + PICKLE_ENTRY + " in the zip archive, got " + pickles.size());
    }
    String folder = pickles.get(0).substring(0, pickles.get(0).length() - PICKLE_ENTRY.length());
    if (zip.entries().containsKey(folder + "constants.pkl")) {
      throw InvalidInputException.of(
          file, "is a TorchScript program, not the weights of a model alone");
    }
    StoredZip.Entry order = zip.entries().get(folder + "byteorder");
    if (order != null && !text(order).equals("little")) {
      throw InvalidInputException.of(file, "byteorder: expected little");
    }
    StoredZip.Entry pickle = zip.entries().get(pickles.get(0));
    if (pickle.size() > InputLimits.PICKLE) {
      throw InvalidInputException.of(
          file, pickle.begin(), "the pickle has " + pickle.size() + " bytes");
    }
    zip.verify(pickle);
    PickleInput in = new PickleInput(file, channel, pickle.begin(), pickle.end());
    Object root = new PickleReader(in, objects).read();
    for (Storage storage : objects.storages().values()) {
      StoredZip.Entry entry = zip.entries().get(folder + "data/" + storage.key());
      if (entry == null) {
        throw InvalidInputException.of(file, "storage " + storage.key() + " is missing");
      }
      requireSize(storage, entry.size());
      regions.put(storage.key(), new Region(entry.begin(), entry));
    }
    return root;
  }

  private String text(StoredZip.Entry entry) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(entry.size(), 16));
    Safetensors.readFully(file, channel, entry.begin(), bytes);
    return new String(bytes.array(), StandardCharsets.US_ASCII);
  }

  private void requireSize(Storage storage, long bytes) {
    int width = TensorInfo.elementBytes(storage.dtype());
    if (bytes % width != 0 || bytes / width != storage.count()) {
      throw InvalidInputException.of(
          file,
          "storage "
              + storage.key()
              + ": expected "
              + storage.count()
              + " numbers of "
              + width
              + " bytes, there are "
              + bytes
              + " bytes");
    }
  }

  // ---- before 1.6

  private Object parseLegacy() throws IOException {
    PickleInput in = new PickleInput(file, channel, 0, channel.size());
    PickleReader reader = new PickleReader(in, objects);
    if (!LEGACY_MAGIC.equals(reader.read())) {
      throw InvalidInputException.of(file, "a pickle, but not a checkpoint of PyTorch");
    }
    Object protocol = reader.read();
    if (!Long.valueOf(LEGACY_PROTOCOL).equals(protocol)) {
      throw in.error("expected protocol " + LEGACY_PROTOCOL);
    }
    if (!(reader.read() instanceof Map<?, ?> system)
        || !Boolean.TRUE.equals(system.get("little_endian"))) {
      throw in.error("expected a checkpoint of a little-endian machine");
    }
    Object root = reader.read();
    if (!(reader.read() instanceof List<?> keys)) {
      throw in.error("expected the list of storages");
    }
    long at = in.position();
    for (Object key : keys) {
      Storage storage = key instanceof String ? objects.storages().get(key) : null;
      if (storage == null || regions.containsKey(storage.key())) {
        throw InvalidInputException.of(file, at, "a storage nobody asked for, or twice");
      }
      PickleInput header = new PickleInput(file, channel, at, channel.size());
      long count = header.int64();
      long begin = header.position();
      int width = TensorInfo.elementBytes(storage.dtype());
      if (count != storage.count() || count > (channel.size() - begin) / width) {
        throw InvalidInputException.of(
            file,
            at,
            "storage " + storage.key() + ": " + count + " numbers are not there (truncated?)");
      }
      regions.put(storage.key(), new Region(begin, null));
      at = begin + count * width;
    }
    if (at != channel.size()) {
      throw InvalidInputException.of(file, at, "bytes behind the last storage");
    }
    if (!regions.keySet().equals(objects.storages().keySet())) {
      throw InvalidInputException.of(file, "a storage is missing");
    }
    return root;
  }

  // ---- tensors

  @Override
  public Path file() {
    return file;
  }

  /** In the dictionary's order. */
  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  private View view(String name) {
    View view = tensors.get(name);
    if (view == null) {
      throw InvalidInputException.of(file, "there is no tensor " + name);
    }
    return view;
  }

  @Override
  public long[] shape(String name) {
    return view(name).shape().clone();
  }

  @Override
  public long storedCount() {
    return objects.storages().values().stream().mapToLong(Storage::count).sum();
  }

  @Override
  public float[] floats(String name, long first, int count) {
    View view = view(name);
    Floats.requireFloats(file, name, view.storage().dtype());
    if (first < 0 || count < 0 || first > view.count() - count) {
      throw new IndexOutOfBoundsException(
          name + ": " + count + " elements from " + first + " on of " + view.count());
    }
    if (!channel.isOpen()) {
      throw new IllegalStateException(file + " was closed");
    }
    if (view.contiguous()) {
      return stored(view.storage(), view.offset() + first, count);
    }
    return gather(name, view, first, count);
  }

  private float[] stored(Storage storage, long first, int count) {
    Region region = verified(storage);
    return Floats.read(
        storage.dtype(),
        (offset, to) -> {
          try {
            Safetensors.readFully(file, channel, region.begin() + offset, to);
          } catch (IOException e) {
            throw InvalidInputException.of(file, e);
          }
        },
        first,
        count);
  }

  private Region verified(Storage storage) {
    Region region = regions.get(storage.key());
    if (region.unverified() != null) {
      try {
        zip.verify(region.unverified());
      } catch (IOException e) {
        throw InvalidInputException.of(file, e);
      }
      region = new Region(region.begin(), null);
      regions.put(storage.key(), region);
    }
    return region;
  }

  private float[] gather(String name, View view, long first, int count) {
    if (!name.equals(gatheredName)) {
      long span = view.span();
      if (span > Integer.MAX_VALUE - 8) {
        throw InvalidInputException.of(
            file, "tensor " + name + " does not stand in one piece and has more than 2^31 numbers");
      }
      gathered = stored(view.storage(), view.offset(), (int) span);
      gatheredName = name;
    }
    float[] out = new float[count];
    if (count == 0) {
      return out;
    }
    long[] shape = view.shape();
    long[] index = new long[shape.length];
    long rest = first;
    for (int axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    for (int i = 0; i < count; i++) {
      long at = 0;
      for (int axis = 0; axis < shape.length; axis++) {
        at += index[axis] * view.strides()[axis];
      }
      out[i] = gathered[(int) at];
      for (int axis = shape.length - 1; axis >= 0 && ++index[axis] == shape[axis]; axis--) {
        index[axis] = 0;
      }
    }
    return out;
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
