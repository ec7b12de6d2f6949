package dev.graft.runtime;

import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;

/**
 * A device has less memory than was asked for. The message says how much of each, who holds what,
 * and, where that is known, what would fit.
 */
public final class OutOfDeviceMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final long GB = 1_000_000_000;
  private static final long MB = 1_000_000;

  private final long asked;
  private final long free;

  /**
   * @param what the memory was for
   */
  OutOfDeviceMemoryException(Device device, String what, long asked, Throwable cause) {
    this(device, device.memory(), what, asked, cause);
  }

  private OutOfDeviceMemoryException(
      Device device, Device.Memory memory, String what, long asked, Throwable cause) {
    this(message(device, memory, what, asked), asked, memory.free(), cause);
  }

  private OutOfDeviceMemoryException(String message, long asked, long free, Throwable cause) {
    super(message, cause);
    this.asked = asked;
    this.free = free;
  }

  private static String message(Device device, Device.Memory memory, String what, long asked) {
    StringJoiner held = new StringJoiner(", ", "; held: ", "").setEmptyValue("");
    for (Map.Entry<String, Long> one : device.held().entrySet()) {
      held.add(one.getKey() + " " + size(one.getValue()));
    }
    String left =
        memory.isKnown()
            ? String.format(Locale.ROOT, "%,d of %,d are free", memory.free(), memory.total())
            : "how many are free is not known";
    return String.format(
        Locale.ROOT,
        "%s is out of memory: %,d bytes were asked for %s, %s%s",
        device.name(),
        asked,
        what,
        left,
        held);
  }

  /** As people read it: {@code "1.49 GB"}. */
  private static String size(long bytes) {
    if (bytes >= GB) {
      return String.format(Locale.ROOT, "%.2f GB", (double) bytes / GB);
    }
    return bytes >= MB
        ? String.format(Locale.ROOT, "%.1f MB", (double) bytes / MB)
        : String.format(Locale.ROOT, "%,d bytes", bytes);
  }

  /** Bytes asked for. */
  public long asked() {
    return asked;
  }

  /** Bytes that were free then. */
  public long free() {
    return free;
  }

  /** The same with a sentence behind it. */
  public OutOfDeviceMemoryException with(String sentence) {
    OutOfDeviceMemoryException told =
        new OutOfDeviceMemoryException(getMessage() + ". " + sentence, asked, free, getCause());
    told.setStackTrace(getStackTrace());
    return told;
  }
}
