package dev.graft.model;

import dev.graft.runtime.DType;
import dev.graft.runtime.Device;

/**
 * How many rows of a vocabulary's logits exist at once. Each chunk of rows adds the table's
 * gradient to memory again, so on a card there are as few as its memory allows; on the CPU a chunk
 * is what its caches and memory bear.
 */
final class LogitsChunks {
  /** On the CPU: 64 MB in fp32. */
  private static final long ELEMENTS_ON_CPU = 1L << 24;

  /** On a card whose memory is not known, the emulated one. */
  private static final long ELEMENTS_ON_CARD = 1L << 28;

  /** On any card: 2 GB in bf16. */
  private static final long MOST_ELEMENTS = 1L << 30;

  /** Of a card's memory, for logits: 2.5 GB of 80. */
  private static final long SHARE = 32;

  private static final long MULTIPLE = 64;

  private LogitsChunks() {}

  /** Rows of each chunk but the last, which may have fewer. */
  static long rows(Device device, DType dtype, long rows, long columns) {
    return rows(mostElements(device.isHost(), device.memoryBytes(), dtype), rows, columns);
  }

  static long mostElements(boolean host, long memoryBytes, DType dtype) {
    if (host) {
      return ELEMENTS_ON_CPU;
    }
    return memoryBytes == 0
        ? ELEMENTS_ON_CARD
        : Math.min(MOST_ELEMENTS, memoryBytes / SHARE / dtype.bytes());
  }

  /** As few chunks as possible, of as even a size: they are one shape, or two, to time. */
  static long rows(long mostElements, long rows, long columns) {
    long most = Math.max(MULTIPLE, mostElements / columns / MULTIPLE * MULTIPLE);
    long chunks = Math.max(1, (rows + most - 1) / most);
    long even = (rows + chunks - 1) / chunks;
    return Math.max(MULTIPLE, (even + MULTIPLE - 1) / MULTIPLE * MULTIPLE);
  }
}
