package dev.graft.io;

import java.io.IOException;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Interpreter of Python's pickle format (PEP 307, PEP 3154) as far as PyTorch's checkpoints need
 * it. It makes texts, numbers, lists, dictionaries, and what {@link Globals} allows; a class that
 * is not allowed, an instruction that makes instances or a persistent id that is no storage ends in
 * an {@link InvalidInputException} that names it. Nothing is looked up or executed.
 *
 * <p>Values are Java's: String, Long, BigInteger, Double, Boolean, {@link Tuple}, List, Map, null.
 */
final class PickleReader {
  /** What a pickle may refer to. */
  interface Globals {
    /** A class or function by its qualified name; null if it is not allowed. */
    Object find(String name);

    /** Calls what {@link #find} gave; null if it cannot be called so. */
    Object call(Object global, List<Object> arguments);

    /** The object of a persistent id; null if it is none. */
    Object persistent(Object id);
  }

  /** A Python tuple. */
  record Tuple(List<Object> items) {}

  private static final Object MARK = new Object();
  private static final int LONGEST_INTEGER = 16;

  private final PickleInput in;
  private final Globals globals;
  private List<Object> stack;
  private Map<Integer, Object> memo;
  private int objects;

  PickleReader(PickleInput in, Globals globals) {
    this.in = in;
    this.globals = globals;
  }

  /** The value of the pickle that begins here; the input stands behind it afterwards. */
  Object read() throws IOException {
    stack = new ArrayList<>();
    memo = new HashMap<>();
    while (true) {
      int op = in.unsignedByte();
      if (op == '.') {
        Object value = pop();
        if (!stack.isEmpty()) {
          throw in.error("the pickle leaves more than one value");
        }
        return value;
      }
      step(op);
    }
  }

  private void step(int op) throws IOException {
    switch (op) {
      case 0x80 -> protocol(in.unsignedByte());
      case 0x95 -> in.int64(); // a frame's length: a hint for readers of streams
      case '(' -> push(MARK);
      case '0' -> pop();

      case 'N' -> push(null);
      case 0x88 -> push(true);
      case 0x89 -> push(false);
      case 'K' -> push((long) in.unsignedByte());
      case 'M' -> push((long) in.unsignedShort());
      case 'J' -> push((long) in.int32());
      case 0x8a -> push(integer(in.unsignedByte()));
      case 'G' -> push(in.bigEndianDouble());

      case 'X' -> push(in.text(Integer.toUnsignedLong(in.int32())));
      case 0x8c -> push(in.text(in.unsignedByte()));
      case 0x8d -> push(in.text(in.int64()));
      // Python 2's str, which state dictionaries of its time have as keys
      case 'U' -> push(in.text(in.unsignedByte()));
      case 'T' -> push(in.text(Integer.toUnsignedLong(in.int32())));

      case '}' -> push(new LinkedHashMap<>(0));
      case ']' -> push(new ArrayList<>(0));
      case ')' -> push(new Tuple(List.of()));
      case 0x85 -> push(tuple(1));
      case 0x86 -> push(tuple(2));
      case 0x87 -> push(tuple(3));
      case 't' -> push(new Tuple(marked()));
      case 'l' -> push(marked());
      case 'd' -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        put(map, marked());
        push(map);
      }
      case 'a' -> {
        Object item = pop();
        list().add(item);
      }
      case 'e' -> {
        List<Object> items = marked();
        list().addAll(items);
      }
      case 's' -> {
        Object value = pop();
        Object key = pop();
        put(map(), Arrays.asList(key, value));
      }
      case 'u' -> {
        List<Object> items = marked();
        put(map(), items);
      }

      case 'q' -> memo.put(in.unsignedByte(), peek());
      case 'r' -> memo.put(in.int32(), peek());
      case 0x94 -> memo.put(memo.size(), peek());
      case 'h' -> push(remembered(in.unsignedByte()));
      case 'j' -> push(remembered(in.int32()));

      case 'c' -> push(global(in.line(), in.line()));
      case 0x93 -> {
        Object name = pop();
        if (!(pop() instanceof String module && name instanceof String text)) {
          throw in.error("the name of a class is no text");
        }
        push(global(module, text));
      }
      case 'R' -> {
        Object arguments = pop();
        push(call(pop(), arguments));
      }
      case 'b' -> build(pop());
      case 'Q' -> push(persistent(pop()));

      default ->
          throw in.error(
              String.format(
                  "pickle instruction 0x%02x is not one that checkpoints of tensors need", op));
    }
  }

  private void protocol(int version) {
    if (version < 2 || version > 5) {
      throw in.error("pickle protocol " + version + " is not read; 2 to 5 are");
    }
  }

  private Object integer(int length) throws IOException {
    if (length > LONGEST_INTEGER) {
      throw in.error("a whole number of " + length + " bytes");
    }
    byte[] bytes = in.bytes(length);
    byte[] bigEndian = new byte[length];
    for (int i = 0; i < length; i++) {
      bigEndian[length - 1 - i] = bytes[i];
    }
    BigInteger value = length == 0 ? BigInteger.ZERO : new BigInteger(bigEndian);
    return value.bitLength() < Long.SIZE ? (Object) value.longValue() : value;
  }

  // ---- the stack

  private void push(Object value) {
    // Each value costs memory that its byte in the file does not.
    if (++objects > InputLimits.PICKLE_OBJECTS) {
      throw in.error("the pickle makes more than " + InputLimits.PICKLE_OBJECTS + " objects");
    }
    stack.add(value);
  }

  private Object pop() {
    Object value = peek();
    stack.remove(stack.size() - 1);
    return value;
  }

  private Object peek() {
    if (stack.isEmpty()) {
      throw in.error("the pickle takes a value where there is none");
    }
    return stack.get(stack.size() - 1);
  }

  /** The values behind the last mark, which goes with them. */
  private List<Object> marked() {
    int mark = stack.size() - 1;
    while (mark >= 0 && stack.get(mark) != MARK) {
      mark--;
    }
    if (mark < 0) {
      throw in.error("the pickle takes values behind a mark where there is none");
    }
    List<Object> behind = stack.subList(mark, stack.size());
    List<Object> items = new ArrayList<>(behind.subList(1, behind.size()));
    behind.clear();
    return items;
  }

  private Tuple tuple(int size) {
    Object[] items = new Object[size];
    for (int i = size - 1; i >= 0; i--) {
      items[i] = pop();
    }
    return new Tuple(Arrays.asList(items));
  }

  @SuppressWarnings("unchecked")
  private List<Object> list() {
    if (peek() instanceof List<?> list) {
      return (List<Object>) list;
    }
    throw in.error("the pickle adds to what is no list");
  }

  @SuppressWarnings("unchecked")
  private Map<Object, Object> map() {
    if (peek() instanceof Map<?, ?> map) {
      return (Map<Object, Object>) map;
    }
    throw in.error("the pickle adds a key to what is no dictionary");
  }

  private void put(Map<Object, Object> map, List<Object> items) {
    if (items.size() % 2 != 0) {
      throw in.error("the pickle has a key without a value");
    }
    for (int i = 0; i < items.size(); i += 2) {
      Object key = items.get(i);
      // Hashing a key of lists within lists would be a way to spend time and stack.
      if (!(key instanceof String || key instanceof Long)) {
        throw in.error("a dictionary's key is neither a text nor a number");
      }
      map.put(key, items.get(i + 1));
    }
  }

  private Object remembered(int index) {
    if (!memo.containsKey(index)) {
      throw in.error("the pickle takes value " + index + ", which it has not kept");
    }
    return memo.get(index);
  }

  // ---- classes

  private Object global(String module, String name) {
    Object found = globals.find(module + "." + name);
    if (found == null) {
      throw in.error(
          "refers to "
              + module
              + "."
              + name
              + ", which is not allowed: only tensors are read, and nothing is executed");
    }
    return found;
  }

  private Object call(Object global, Object arguments) {
    if (arguments instanceof Tuple tuple) {
      Object result = globals.call(global, tuple.items());
      if (result != null) {
        return result;
      }
    }
    throw in.error(
        "the pickle calls "
            + (global instanceof Enum<?> ? global : "a value")
            + " in a way that is not allowed");
  }

  /** An ordered dictionary's state is its {@code _metadata}: versions of modules, not wanted. */
  private void build(Object state) {
    if (!(peek() instanceof Map) || !(state instanceof Map)) {
      throw in.error("the pickle sets the state of what has none");
    }
  }

  private Object persistent(Object id) {
    Object found = globals.persistent(id);
    if (found == null) {
      throw in.error("the pickle names an object outside of it that is no storage of numbers");
    }
    return found;
  }
}
