package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * Token ids of a corpus on disk, memory-mapped, so that it may be larger than memory. A directory
 * holds {@code tokens-00000.bin …} (little endian, 2 bytes a token up to 65,536 ids, else 4),
 * {@code documents.bin} (the first token of each document, 8 bytes) and, written last, {@code
 * shards.json} with counts and checksums.
 */
public final class TokenShards implements AutoCloseable {
  private static final String MANIFEST = "shards.json";
  private static final String DOCUMENTS = "documents.bin";
  private static final int VERSION = 1;

  /** Tokens of a shard: 2^28, at most 1 GiB. */
  private static final long SHARD = 1L << 28;

  private final Path directory;
  private final List<ByteBuffer> shards = new ArrayList<>();
  private final ByteBuffer documents;
  private final long tokens;
  private final long documentCount;
  private final int bytes;
  private final int vocabSize;
  private final String vocabulary;
  private final String fingerprint;

  private TokenShards(Path directory) {
    this.directory = directory;
    Path manifest = directory.resolve(MANIFEST);
    ObjectNode json = Json.readObject(manifest);
    if (json.path("version").asInt(-1) != VERSION) {
      throw InvalidInputException.of(
          manifest, "expected version " + VERSION + ", got " + json.path("version"));
    }
    tokens = json.path("tokens").asLong(-1);
    documentCount = json.path("documents").asLong(-1);
    bytes = json.path("bytes_per_token").asInt(-1);
    vocabSize = json.path("vocab_size").asInt(-1);
    vocabulary = json.path("vocabulary").asText("");
    if (tokens < 1 || documentCount < 1 || (bytes != 2 && bytes != 4) || vocabSize < 1) {
      throw InvalidInputException.of(manifest, "its counts cannot be right");
    }
    long left = tokens;
    StringBuilder sums = new StringBuilder(vocabulary);
    for (JsonNode shard : json.path("shards")) {
      long count = Math.min(SHARD, left);
      Path file = directory.resolve(shardName(shards.size()));
      shards.add(map(file, count * bytes, shard.path("crc32c").asText("")));
      sums.append(shard.path("crc32c").asText(""));
      left -= count;
    }
    if (left != 0) {
      throw InvalidInputException.of(manifest, "its shards do not hold " + tokens + " tokens");
    }
    documents =
        map(
            directory.resolve(DOCUMENTS),
            Math.multiplyExact(documentCount, 8L),
            json.path("documents_crc32c").asText(""));
    long before = -1;
    for (long d = 0; d < documentCount; d++) {
      long start = documents.getLong(Math.toIntExact(8 * d));
      if (start < 0 || start >= tokens || start <= before || (d == 0 && start != 0)) {
        throw InvalidInputException.of(
            directory.resolve(DOCUMENTS), 8 * d, "document " + d + " begins at " + start);
      }
      before = start;
    }
    fingerprint = Integer.toHexString(sums.toString().hashCode()) + "-" + tokens;
  }

  private static ByteBuffer map(Path file, long size, String checksum) {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      if (channel.size() != size) {
        throw InvalidInputException.of(
            file, "expected " + size + " bytes, there are " + channel.size() + " (truncated?)");
      }
      MappedByteBuffer mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, size);
      CRC32C crc = new CRC32C();
      crc.update(mapped.duplicate());
      if (!Long.toHexString(crc.getValue()).equals(checksum)) {
        throw InvalidInputException.of(file, "its checksum is not that of " + MANIFEST);
      }
      return mapped.order(ByteOrder.LITTLE_ENDIAN);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  private static String shardName(int number) {
    return String.format("tokens-%05d.bin", number);
  }

  /** Opens and checks a directory. */
  public static TokenShards open(Path directory) {
    return new TokenShards(directory);
  }

  /** Whether a directory holds a finished set. */
  public static boolean exists(Path directory) {
    return Files.exists(directory.resolve(MANIFEST));
  }

  /**
   * Encodes files into a directory. Documents end with the tokenizer's end token if it has one.
   *
   * @throws InvalidInputException if there is no token in them
   */
  public static TokenShards build(
      List<Path> files, DocumentMode mode, String field, Tokenizer tokenizer, Path directory) {
    return build(Corpus.of(files).documents(mode).field(field), tokenizer, directory);
  }

  static TokenShards build(Corpus corpus, Tokenizer tokenizer, Path directory) {
    try (Writer writer = new Writer(directory, tokenizer)) {
      corpus.read(writer);
      writer.finish(corpus.toString());
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    }
    return open(directory);
  }

  private static final class Writer implements Documents.Sink, AutoCloseable {
    private final Path directory;
    private final Tokenizer tokenizer;
    private final int bytes;
    private final ByteBuffer buffer = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    private final List<CRC32C> sums = new ArrayList<>();
    private FileChannel channel;
    private FileChannel starts;
    private final CRC32C startsSum = new CRC32C();
    private long tokens;
    private long documents;
    private long documentStart;

    Writer(Path directory, Tokenizer tokenizer) throws IOException {
      this.directory = directory;
      this.tokenizer = tokenizer;
      this.bytes = tokenizer.vocabSize() <= 1 << 16 ? 2 : 4;
      Files.createDirectories(directory);
      Files.deleteIfExists(directory.resolve(MANIFEST));
      starts = create(DOCUMENTS);
    }

    private FileChannel create(String name) throws IOException {
      return FileChannel.open(
          directory.resolve(name),
          StandardOpenOption.CREATE,
          StandardOpenOption.WRITE,
          StandardOpenOption.TRUNCATE_EXISTING);
    }

    @Override
    public void text(String piece) {
      for (int id : tokenizer.ids(piece)) {
        put(id);
      }
    }

    @Override
    public void endOfDocument() {
      if (tokens == documentStart) {
        return;
      }
      if (tokenizer.eosId() >= 0) {
        put(tokenizer.eosId());
      }
      ByteBuffer start = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      start.putLong(0, documentStart);
      startsSum.update(start.duplicate());
      try {
        AtomicFiles.writeFully(starts, start);
      } catch (IOException e) {
        throw InvalidInputException.of(directory, e);
      }
      documents++;
      documentStart = tokens;
    }

    private void put(int id) {
      try {
        if (tokens % SHARD == 0) {
          flush();
          closeShard();
          channel = create(shardName(sums.size()));
          sums.add(new CRC32C());
        }
        if (buffer.remaining() < 4) {
          flush();
        }
      } catch (IOException e) {
        throw InvalidInputException.of(directory, e);
      }
      if (bytes == 2) {
        buffer.putShort((short) id);
      } else {
        buffer.putInt(id);
      }
      tokens++;
    }

    private void flush() throws IOException {
      buffer.flip();
      if (buffer.hasRemaining()) {
        sums.get(sums.size() - 1).update(buffer.duplicate());
        AtomicFiles.writeFully(channel, buffer);
      }
      buffer.clear();
    }

    private void closeShard() throws IOException {
      if (channel != null) {
        channel.force(true);
        channel.close();
        channel = null;
      }
    }

    void finish(String source) throws IOException {
      if (tokens == 0) {
        throw new InvalidInputException(source + ": there is no token in the text");
      }
      flush();
      closeShard();
      starts.force(true);
      ObjectNode json = Json.object();
      json.put("version", VERSION)
          .put("tokens", tokens)
          .put("documents", documents)
          .put("bytes_per_token", bytes)
          .put("vocab_size", tokenizer.vocabSize())
          .put("vocabulary", tokenizer.fingerprint())
          .put("documents_crc32c", Long.toHexString(startsSum.getValue()));
      ArrayNode list = json.putArray("shards");
      sums.forEach(sum -> list.addObject().put("crc32c", Long.toHexString(sum.getValue())));
      AtomicFiles.write(directory.resolve(MANIFEST), Json.pretty(json));
    }

    @Override
    public void close() throws IOException {
      if (channel != null) {
        channel.close();
      }
      if (starts != null) {
        starts.close();
        starts = null;
      }
    }
  }

  public long tokens() {
    return tokens;
  }

  public long documents() {
    return documentCount;
  }

  public int vocabSize() {
    return vocabSize;
  }

  /** Fingerprint of the tokenizer that made the ids. */
  public String vocabulary() {
    return vocabulary;
  }

  /** Tells sets apart. */
  public String fingerprint() {
    return fingerprint;
  }

  /** Token {@code index} of the corpus. */
  public int token(long index) {
    ByteBuffer shard = shards.get((int) (index / SHARD));
    int at = (int) (index % SHARD);
    int id = bytes == 2 ? shard.getShort(2 * at) & 0xFFFF : shard.getInt(4 * at);
    if (id < 0 || id >= vocabSize) {
      throw InvalidInputException.of(directory, "token " + index + " has the id " + id);
    }
    return id;
  }

  /** The first token of a document; {@link #tokens} for the one behind the last. */
  public long documentStart(long document) {
    return document == documentCount ? tokens : documents.getLong(Math.toIntExact(8 * document));
  }

  /** All tokens. */
  public TokenRange all() {
    return new TokenRange(this, 0, tokens);
  }

  /** The ids as an array, for small corpora and tests. */
  public int[] toArray() {
    int[] out = new int[Math.toIntExact(tokens)];
    Arrays.setAll(out, this::token);
    return out;
  }

  /** Mapped memory goes with the buffers. */
  @Override
  public void close() {
    shards.clear();
  }
}
