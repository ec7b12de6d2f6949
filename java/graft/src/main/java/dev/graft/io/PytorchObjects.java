package dev.graft.io;

import dev.graft.io.PickleReader.Tuple;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The classes and functions a PyTorch checkpoint may name: those that tensors are made of. */
final class PytorchObjects implements PickleReader.Globals {
  /** A storage: numbers of one dtype, one after the other. */
  record Storage(String key, String dtype, long count) {}

  /**
   * A view of a storage.
   *
   * @param offset first element
   * @param strides elements from one index of an axis to the next
   */
  record View(Storage storage, long offset, long[] shape, long[] strides) {
    long count() {
      long count = 1;
      for (long size : shape) {
        count *= size;
      }
      return count;
    }

    /** Whether its elements stand one after the other, the last axis fastest. */
    boolean contiguous() {
      long next = 1;
      for (int axis = shape.length - 1; axis >= 0; axis--) {
        if (shape[axis] != 1 && strides[axis] != next) {
          return false;
        }
        next *= shape[axis];
      }
      return true;
    }

    /** Elements from the first to the last one, in the storage; 0 without elements. */
    long span() {
      long last = 0;
      for (int axis = 0; axis < shape.length; axis++) {
        if (shape[axis] == 0) {
          return 0;
        }
        last += (shape[axis] - 1) * strides[axis];
      }
      return last + 1;
    }
  }

  private enum Callable {
    ORDERED_DICT("collections.OrderedDict"),
    SIZE("torch.Size"),
    TENSOR("torch._utils._rebuild_tensor"),
    TENSOR_V2("torch._utils._rebuild_tensor_v2"),
    PARAMETER("torch._utils._rebuild_parameter");

    private final String python;

    Callable(String python) {
      this.python = python;
    }

    @Override
    public String toString() {
      return python;
    }
  }

  /** The class of a storage, by safetensors' name of its dtype. */
  private record StorageClass(String dtype) {}

  /** A part of a storage under a name of its own, as PyTorch before 0.4 wrote it. */
  private record StoragePart(Storage whole, long offset, long count) {}

  private static final Map<String, String> STORAGES =
      Map.of(
          "torch.DoubleStorage", "F64",
          "torch.FloatStorage", "F32",
          "torch.HalfStorage", "F16",
          "torch.BFloat16Storage", "BF16",
          "torch.LongStorage", "I64",
          "torch.IntStorage", "I32",
          "torch.ShortStorage", "I16",
          "torch.CharStorage", "I8",
          "torch.ByteStorage", "U8",
          "torch.BoolStorage", "BOOL");

  private final Path file;
  private final Map<String, Storage> storages = new LinkedHashMap<>();

  PytorchObjects(Path file) {
    this.file = file;
  }

  /** Every storage the pickle named, by key. */
  Map<String, Storage> storages() {
    return storages;
  }

  @Override
  public Object find(String name) {
    String dtype = STORAGES.get(name);
    if (dtype != null) {
      return new StorageClass(dtype);
    }
    for (Callable callable : Callable.values()) {
      if (callable.python.equals(name)) {
        return callable;
      }
    }
    return null;
  }

  @Override
  public Object call(Object global, List<Object> arguments) {
    if (!(global instanceof Callable callable)) {
      return null;
    }
    int count = arguments.size();
    return switch (callable) {
      case ORDERED_DICT -> count == 0 ? new LinkedHashMap<>(0) : dictionary(arguments);
      case SIZE -> count == 1 ? arguments.get(0) : null;
      case TENSOR -> count == 4 ? view(arguments) : null;
      // The rest is whether it wants a gradient, its hooks and its metadata.
      case TENSOR_V2 -> count >= 4 && count <= 7 ? view(arguments) : null;
      case PARAMETER -> count == 3 && arguments.get(0) instanceof View view ? view : null;
    };
  }

  /** Of the list of its pairs, as Python 2 wrote it; null if it is none. */
  private static Map<String, Object> dictionary(List<Object> arguments) {
    if (arguments.size() != 1 || !(arguments.get(0) instanceof List<?> pairs)) {
      return null;
    }
    Map<String, Object> map = new LinkedHashMap<>();
    for (Object item : pairs) {
      if (!(item instanceof List<?> pair)
          || pair.size() != 2
          || !(pair.get(0) instanceof String key)) {
        return null;
      }
      map.put(key, pair.get(1));
    }
    return map;
  }

  private View view(List<Object> arguments) {
    long shift = 0;
    long room;
    Storage storage;
    if (arguments.get(0) instanceof StoragePart part) {
      storage = part.whole();
      shift = part.offset();
      room = part.count();
    } else if (arguments.get(0) instanceof Storage whole) {
      storage = whole;
      room = whole.count();
    } else {
      return null;
    }
    long[] shape = sizes(arguments.get(2));
    long[] strides = sizes(arguments.get(3));
    if (!(arguments.get(1) instanceof Long offset)
        || shape == null
        || strides == null
        || shape.length != strides.length) {
      return null;
    }
    try {
      // The products count() and span() make are within these.
      long count = 1;
      long last = offset;
      for (int axis = 0; axis < shape.length; axis++) {
        count = Math.multiplyExact(count, Math.max(1, shape[axis]));
        long steps = Math.max(0, shape[axis] - 1);
        last = Math.addExact(last, Math.multiplyExact(steps, strides[axis]));
      }
      View view = new View(storage, Math.addExact(offset, shift), shape, strides);
      if (offset >= 0 && (view.count() == 0 || last < room)) {
        return view;
      }
    } catch (ArithmeticException e) {
      // beyond any storage
    }
    throw InvalidInputException.of(
        file, "a tensor reaches beyond the " + room + " numbers of storage " + storage.key());
  }

  private static long[] sizes(Object value) {
    if (!(value instanceof Tuple tuple) || tuple.items().size() > InputLimits.TENSOR_AXES) {
      return null;
    }
    long[] sizes = new long[tuple.items().size()];
    for (int axis = 0; axis < sizes.length; axis++) {
      if (!(tuple.items().get(axis) instanceof Long size) || size < 0) {
        return null;
      }
      sizes[axis] = size;
    }
    return sizes;
  }

  /** {@code ("storage", class, key, device, count)}, before 1.6 with a view behind. */
  @Override
  public Object persistent(Object id) {
    if (!(id instanceof Tuple tuple)
        || tuple.items().size() < 5
        || tuple.items().size() > 6
        || !"storage".equals(tuple.items().get(0))
        || !(tuple.items().get(1) instanceof StorageClass kind)
        || !(tuple.items().get(2) instanceof String key)
        || !(tuple.items().get(4) instanceof Long count)
        || count < 0) {
      return null;
    }
    Storage storage = new Storage(key, kind.dtype(), count);
    Storage before = storages.putIfAbsent(key, storage);
    if (before != null && !before.equals(storage)) {
      throw InvalidInputException.of(file, "storage " + key + " has two sizes or dtypes");
    }
    Object part = tuple.items().size() == 6 ? tuple.items().get(5) : null;
    if (part == null) {
      return storage;
    }
    return part instanceof Tuple view
            && view.items().size() == 3
            && view.items().get(1) instanceof Long offset
            && view.items().get(2) instanceof Long length
            && offset >= 0
            && length >= 0
            && offset <= count - length
        ? new StoragePart(storage, offset, length)
        : null;
  }
}
