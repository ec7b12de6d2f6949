package dev.graft.runtime;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which algorithm was fastest for a product, and whether its epilogue was faster than other calls
 * after it, by the product's key: in memory, and in a file a device and library version, so that a
 * later process need not time again. A line of the file is one of
 *
 * <pre>
 *   key workspace-bytes microseconds word0 … word7
 *   key fused|separate fused-microseconds separate-microseconds
 * </pre>
 *
 * with the words of the library's opaque algorithm in hexadecimal. A line that cannot be read is
 * left out; a file that cannot be written costs the timings, nothing else.
 */
final class AlgorithmCache {
  /** Words of {@code cublasLtMatmulAlgo_t}. */
  static final int WORDS = 8;

  /** What is remembered by a key. */
  sealed interface Entry permits Algorithm, FusionChoice {
    /** As {@link #parse} reads it. */
    String text();

    /**
     * @throws IllegalArgumentException if it is none
     */
    static Entry parse(String text) {
      return FusionChoice.is(text) ? FusionChoice.parse(text) : Algorithm.parse(text);
    }
  }

  /**
   * An algorithm and what it took.
   *
   * @param words its opaque data
   * @param workspace bytes it needs
   */
  record Algorithm(long[] words, long workspace, double microseconds) implements Entry {
    Algorithm {
      if (words.length != WORDS || workspace < 0) {
        throw new IllegalArgumentException("algorithm: expected " + WORDS + " words");
      }
      words = words.clone();
    }

    /** Workspace, time and words, as {@link #parse} reads them. */
    @Override
    public String text() {
      StringBuilder text = new StringBuilder().append(workspace).append(' ').append(microseconds);
      for (long word : words) {
        text.append(' ').append(Long.toHexString(word));
      }
      return text.toString();
    }

    /**
     * @throws IllegalArgumentException if it is no algorithm
     */
    static Algorithm parse(String text) {
      String[] fields = text.split(" ");
      if (fields.length != 2 + WORDS) {
        throw new IllegalArgumentException("algorithm: cannot be " + text);
      }
      long[] words = new long[WORDS];
      for (int i = 0; i < WORDS; i++) {
        words[i] = Long.parseUnsignedLong(fields[2 + i], 16);
      }
      return new Algorithm(words, Long.parseLong(fields[0]), Double.parseDouble(fields[1]));
    }
  }

  private static final Logger log = LoggerFactory.getLogger(AlgorithmCache.class);

  private final Path file;
  private final Map<String, Entry> entries = new TreeMap<>();

  /**
   * @param file read now if it is there; null to keep all in memory
   */
  AlgorithmCache(Path file) {
    this.file = file;
    entries.putAll(read());
  }

  /**
   * Where the file of a device lies: {@code GRAFT_CACHE}, else {@code XDG_CACHE_HOME/graft}, else
   * {@code ~/.cache/graft}.
   *
   * @param library name and version of what the algorithms belong to
   */
  static Path file(Map<String, String> environment, Path home, String library, String device) {
    String own = environment.getOrDefault("GRAFT_CACHE", "");
    String caches = environment.getOrDefault("XDG_CACHE_HOME", "");
    Path folder =
        !own.isEmpty()
            ? Path.of(own)
            : (caches.isEmpty() ? home.resolve(".cache") : Path.of(caches)).resolve("graft");
    return folder.resolve(
        (library + "-" + device).toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9.]+", "-") + ".txt");
  }

  /** Null if there is none. */
  synchronized Algorithm get(String key) {
    return entries.get(key) instanceof Algorithm algorithm ? algorithm : null;
  }

  /** Null if there is none. */
  synchronized FusionChoice choice(String key) {
    return entries.get(key) instanceof FusionChoice choice ? choice : null;
  }

  /** Remembers an algorithm or a choice, in the file too. */
  synchronized void put(String key, Entry entry) {
    entries.put(key, entry);
    if (file != null) {
      try {
        write();
      } catch (IOException e) {
        log.warn("{}: not written, products are timed again next time: {}", file, e.toString());
      }
    }
  }

  /** Another process may have added lines since this one read them; they are kept. */
  private void write() throws IOException {
    read().forEach(entries::putIfAbsent);
    List<String> lines = new ArrayList<>();
    entries.forEach((key, entry) -> lines.add(key + " " + entry.text()));
    Files.createDirectories(file.toAbsolutePath().getParent());
    Path temporary =
        Files.createTempFile(file.toAbsolutePath().getParent(), file.getFileName().toString(), "");
    try {
      Files.write(temporary, lines);
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private Map<String, Entry> read() {
    Map<String, Entry> found = new TreeMap<>();
    if (file == null || !Files.isRegularFile(file)) {
      return found;
    }
    try {
      for (String line : Files.readAllLines(file)) {
        String[] parts = line.split(" ", 2);
        try {
          found.put(parts[0], Entry.parse(parts.length == 2 ? parts[1] : ""));
        } catch (IllegalArgumentException e) {
          log.warn("{}: a line that cannot be read is left out: {}", file, line);
        }
      }
    } catch (IOException e) {
      log.warn("{}: not read, products are timed again: {}", file, e.toString());
    }
    return found;
  }
}
