package dev.graft.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;

/**
 * The directory of a zip archive (APPNOTE 6.3, ZIP64 too) whose entries are stored as they are, as
 * PyTorch writes it: an entry is a range of the file. Compressed and encrypted entries are refused,
 * and ranges that overlap, so an archive never holds more than its size.
 */
final class StoredZip {
  private static final int END = 0x06054b50;
  private static final int END64 = 0x06064b50;
  private static final int LOCATOR64 = 0x07064b50;
  private static final int ENTRY = 0x02014b50;
  private static final int LOCAL = 0x04034b50;
  private static final int END_BYTES = 22;
  private static final int LOCATOR64_BYTES = 20;
  private static final int END64_BYTES = 56;
  private static final int ENTRY_BYTES = 46;
  private static final int LOCAL_BYTES = 30;
  private static final int LONGEST_COMMENT = 0xFFFF;
  private static final long IN_ZIP64 = 0xFFFFFFFFL;
  private static final int CHUNK = 1 << 20;

  /**
   * @param local first byte of its local header
   * @param begin first byte of its content
   */
  record Entry(String name, long local, long begin, long size, long crc) {
    long end() {
      return begin + size;
    }
  }

  private final Path file;
  private final FileChannel channel;
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private long directoryAt;

  StoredZip(Path file, FileChannel channel) throws IOException {
    this.file = file;
    this.channel = channel;
    ByteBuffer directory = directory(channel.size());
    while (directory.hasRemaining()) {
      Entry entry = entry(directory);
      if (entries.putIfAbsent(entry.name(), entry) != null) {
        throw InvalidInputException.of(file, "zip entry " + entry.name() + " stands twice");
      }
    }
    checkRanges();
  }

  /** In the directory's order. */
  Map<String, Entry> entries() {
    return entries;
  }

  private ByteBuffer at(long offset, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    Safetensors.readFully(file, channel, offset, bytes);
    return bytes.flip();
  }

  private ByteBuffer directory(long size) throws IOException {
    int tail = (int) Math.min(size, END_BYTES + LONGEST_COMMENT);
    ByteBuffer bytes = at(size - tail, tail);
    for (int i = tail - END_BYTES; i >= 0; i--) {
      if (bytes.getInt(i) == END && bytes.getShort(i + 20) == (short) (tail - END_BYTES - i)) {
        return directory(bytes.position(i).slice().order(ByteOrder.LITTLE_ENDIAN), size - tail + i);
      }
    }
    throw InvalidInputException.of(file, "the zip archive has no directory (truncated?)");
  }

  private ByteBuffer directory(ByteBuffer end, long endAt) throws IOException {
    long bytes = Integer.toUnsignedLong(end.getInt(12));
    long offset = Integer.toUnsignedLong(end.getInt(16));
    long behind = endAt;
    if (endAt >= LOCATOR64_BYTES) {
      ByteBuffer locator = at(endAt - LOCATOR64_BYTES, LOCATOR64_BYTES);
      if (locator.getInt(0) == LOCATOR64) {
        long end64At = locator.getLong(8);
        if (end64At < 0 || end64At > endAt - LOCATOR64_BYTES - END64_BYTES) {
          throw InvalidInputException.of(file, endAt, "the zip directory lies outside of the file");
        }
        ByteBuffer end64 = at(end64At, END64_BYTES);
        if (end64.getInt(0) != END64) {
          throw InvalidInputException.of(file, end64At, "expected the end of a zip directory");
        }
        bytes = end64.getLong(40);
        offset = end64.getLong(48);
        behind = end64At;
      }
    }
    if (bytes < 0 || offset < 0 || bytes > behind || offset != behind - bytes) {
      throw InvalidInputException.of(file, endAt, "the zip directory lies outside of the file");
    }
    if (bytes > InputLimits.ZIP_DIRECTORY) {
      throw InvalidInputException.of(file, offset, "the zip directory has " + bytes + " bytes");
    }
    directoryAt = offset;
    return at(offset, (int) bytes);
  }

  private Entry entry(ByteBuffer directory) throws IOException {
    long at = directoryAt + directory.position();
    if (directory.remaining() < ENTRY_BYTES || directory.getInt(directory.position()) != ENTRY) {
      throw InvalidInputException.of(file, at, "expected an entry of the zip directory");
    }
    ByteBuffer e = directory.slice().order(ByteOrder.LITTLE_ENDIAN);
    int nameLength = Short.toUnsignedInt(e.getShort(28));
    int extraLength = Short.toUnsignedInt(e.getShort(30));
    int length = ENTRY_BYTES + nameLength + extraLength + Short.toUnsignedInt(e.getShort(32));
    if (length > e.remaining()) {
      throw InvalidInputException.of(file, at, "the zip directory ends within an entry");
    }
    directory.position(directory.position() + length);
    byte[] name = new byte[nameLength];
    e.get(ENTRY_BYTES, name);
    String text = new String(name, StandardCharsets.UTF_8);
    long packed = Integer.toUnsignedLong(e.getInt(20));
    long size = Integer.toUnsignedLong(e.getInt(24));
    long local = Integer.toUnsignedLong(e.getInt(42));
    ByteBuffer extra =
        e.slice(ENTRY_BYTES + nameLength, extraLength).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer zip64 = zip64(extra);
    size = size == IN_ZIP64 ? next(zip64, at) : size;
    packed = packed == IN_ZIP64 ? next(zip64, at) : packed;
    local = local == IN_ZIP64 ? next(zip64, at) : local;
    int flags = e.getShort(8);
    int method = Short.toUnsignedInt(e.getShort(10));
    if (method != 0 || (flags & 1) != 0 || packed != size) {
      throw InvalidInputException.of(
          file,
          at,
          "zip entry " + text + " is compressed or encrypted; PyTorch stores it as it is");
    }
    return located(text, local, size, Integer.toUnsignedLong(e.getInt(16)));
  }

  private static ByteBuffer zip64(ByteBuffer extra) {
    while (extra.remaining() >= 4) {
      int id = extra.getShort();
      int length = Math.min(Short.toUnsignedInt(extra.getShort()), extra.remaining());
      if (id == 1) {
        return extra.slice(extra.position(), length).order(ByteOrder.LITTLE_ENDIAN);
      }
      extra.position(extra.position() + length);
    }
    return ByteBuffer.allocate(0);
  }

  private long next(ByteBuffer zip64, long at) {
    if (zip64.remaining() < 8) {
      throw InvalidInputException.of(file, at, "a zip entry lacks its ZIP64 sizes");
    }
    return zip64.getLong();
  }

  private Entry located(String name, long local, long size, long crc) throws IOException {
    if (local < 0 || size < 0 || local > directoryAt - LOCAL_BYTES) {
      throw InvalidInputException.of(file, "zip entry " + name + " lies outside of the file");
    }
    ByteBuffer header = at(local, LOCAL_BYTES);
    long begin =
        local
            + LOCAL_BYTES
            + Short.toUnsignedInt(header.getShort(26))
            + Short.toUnsignedInt(header.getShort(28));
    if (header.getInt(0) != LOCAL || header.getShort(8) != 0) {
      throw InvalidInputException.of(file, local, "expected the stored zip entry " + name);
    }
    if (begin > directoryAt || size > directoryAt - begin) {
      throw InvalidInputException.of(file, local, "zip entry " + name + " is truncated");
    }
    return new Entry(name, local, begin, size, crc);
  }

  private void checkRanges() {
    List<Entry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(Entry::local));
    for (int i = 1; i < sorted.size(); i++) {
      if (sorted.get(i).local() < sorted.get(i - 1).end()) {
        throw InvalidInputException.of(
            file, sorted.get(i).local(), "zip entry " + sorted.get(i).name() + " overlaps another");
      }
    }
  }

  /** Refuses an entry whose content does not have the CRC-32 its directory says. */
  void verify(Entry entry) throws IOException {
    CRC32 crc = new CRC32();
    ByteBuffer chunk = ByteBuffer.allocate((int) Math.min(CHUNK, entry.size()));
    for (long at = entry.begin(); at < entry.end(); at += chunk.limit()) {
      chunk.clear().limit((int) Math.min(chunk.capacity(), entry.end() - at));
      Safetensors.readFully(file, channel, at, chunk);
      crc.update(chunk.flip());
    }
    if (crc.getValue() != entry.crc()) {
      throw InvalidInputException.of(
          file,
          entry.begin(),
          "zip entry "
              + entry.name()
              + " has another CRC-32 than its directory says: the file is damaged");
    }
  }
}
