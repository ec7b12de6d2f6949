package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * Token ids of a corpus on disk, memory-mapped, so that it may be larger than memory. A directory
 * holds {@code tokens-00000.bin …} (little endian, 2 bytes a token up to 65,536 ids, else 4),
 * {@code documents.bin} (the first token of each document, 8 bytes) and, written last, {@code
 * shards.json} with counts and checksums. Opening reads everything once, to check it.
 */
public final class TokenShards implements AutoCloseable {
  static final String MANIFEST = "shards.json";
  static final String DOCUMENTS = "documents.bin";
  static final int VERSION = 1;

  /** Tokens of a shard: at most 1 GiB. */
  static final long SHARD = 1L << 28;

  private static final long DOCUMENTS_A_MAP = 1L << 27;

  private final Path directory;
  private final Path manifest;
  private final ObjectNode json;
  private final List<ByteBuffer> shards = new ArrayList<>();
  private final List<ByteBuffer> documents = new ArrayList<>();
  private final long tokens;
  private final long documentCount;
  private final long shardTokens;
  private final int bytes;
  private final int vocabSize;
  private final String vocabulary;
  private final String fingerprint;
  private boolean closed;

  private TokenShards(Path directory) {
    this.directory = directory;
    manifest = directory.resolve(MANIFEST);
    json = Json.readObject(manifest);
    number("version", VERSION, VERSION);
    tokens = number("tokens", 1, Long.MAX_VALUE / 8);
    documentCount = number("documents", 1, tokens);
    shardTokens = number("tokens_per_shard", 1, SHARD);
    bytes = (int) number("bytes_per_token", 2, 4);
    vocabSize = (int) number("vocab_size", 1, bytes == 2 ? 1 << 16 : Integer.MAX_VALUE);
    vocabulary = text(json, "vocabulary");
    JsonNode listed = json.path("shards");
    long needed = (tokens - 1) / shardTokens + 1;
    if (bytes == 3 || listed.size() != needed) {
      throw InvalidInputException.of(
          manifest,
          tokens + " tokens of " + bytes + " bytes do not make " + listed.size() + " shards");
    }
    MessageDigest sums = sha256();
    sums.update((vocabulary + " " + shardTokens).getBytes(StandardCharsets.UTF_8));
    long left = tokens;
    for (JsonNode shard : listed) {
      long size = Math.min(shardTokens, left) * bytes;
      String sum = text(shard, "crc32c");
      open(shardName(shards.size()), size, size, sum, shards);
      sums.update((" " + sum).getBytes(StandardCharsets.UTF_8));
      left -= shardTokens;
    }
    String sum = text(json, "documents_crc32c");
    open(DOCUMENTS, 8 * documentCount, 8 * DOCUMENTS_A_MAP, sum, documents);
    sums.update((" " + sum).getBytes(StandardCharsets.UTF_8));
    checkDocuments();
    fingerprint = HexFormat.of().formatHex(sums.digest(), 0, 16) + "-" + tokens;
  }

  private long number(String name, long least, long most) {
    JsonNode node = json.path(name);
    if (!node.canConvertToLong()
        || !node.isIntegralNumber()
        || node.asLong() < least
        || node.asLong() > most) {
      throw InvalidInputException.of(
          manifest,
          name
              + ": expected "
              + (least == most ? "" + least : "a number of " + least + " to " + most)
              + ", got "
              + (node.isMissingNode() ? "none" : node));
    }
    return node.asLong();
  }

  private String text(JsonNode node, String name) {
    if (!node.path(name).isTextual()) {
      throw InvalidInputException.of(manifest, "there is no text '" + name + "'");
    }
    return node.path(name).asText();
  }

  /** Maps a file in parts of so many bytes and compares its checksum. */
  private void open(String name, long size, long part, String checksum, List<ByteBuffer> to) {
    Path file = directory.resolve(name);
    CRC32C crc = new CRC32C();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      if (channel.size() != size) {
        throw InvalidInputException.of(
            file, "expected " + size + " bytes, there are " + channel.size() + " (truncated?)");
      }
      for (long at = 0; at < size; at += part) {
        ByteBuffer mapped =
            channel.map(FileChannel.MapMode.READ_ONLY, at, Math.min(part, size - at));
        crc.update(mapped.duplicate());
        to.add(mapped.order(ByteOrder.LITTLE_ENDIAN));
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    if (!Long.toHexString(crc.getValue()).equals(checksum)) {
      throw InvalidInputException.of(file, "its checksum is not that of " + MANIFEST);
    }
  }

  private void checkDocuments() {
    long before = -1;
    for (long d = 0; d < documentCount; d++) {
      long start = documentStart(d);
      if (start <= before || start >= tokens || (d == 0 && start != 0)) {
        throw InvalidInputException.of(
            directory.resolve(DOCUMENTS), 8 * d, "document " + d + " begins at token " + start);
      }
      before = start;
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  static String shardName(int number) {
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
   * Encodes files into a directory. Documents end with the tokenizer's end token if it has one. A
   * failure leaves nothing behind.
   *
   * @throws InvalidInputException if there is no token in them
   */
  public static TokenShards build(
      List<Path> files, DocumentMode mode, String field, Tokenizer tokenizer, Path directory) {
    return build(Corpus.of(files).documents(mode).field(field), tokenizer, directory);
  }

  static TokenShards build(Corpus corpus, Tokenizer tokenizer, Path directory) {
    return build(corpus, tokenizer, directory, SHARD);
  }

  static TokenShards build(Corpus corpus, Tokenizer tokenizer, Path directory, long shardTokens) {
    try (TokenShardsWriter writer = new TokenShardsWriter(directory, tokenizer, shardTokens)) {
      corpus.read(writer);
      writer.finish(corpus.toString());
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    }
    return open(directory);
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

  /**
   * Token {@code index} of the corpus.
   *
   * @throws IllegalStateException if this was closed
   */
  public int token(long index) {
    checkOpen();
    ByteBuffer shard = shards.get((int) (index / shardTokens));
    int at = (int) (index % shardTokens);
    int id = bytes == 2 ? shard.getShort(2 * at) & 0xFFFF : shard.getInt(4 * at);
    if (id < 0 || id >= vocabSize) {
      throw InvalidInputException.of(directory, "token " + index + " has the id " + id);
    }
    return id;
  }

  /** The first token of a document; {@link #tokens} for the one behind the last. */
  public long documentStart(long document) {
    checkOpen();
    return document == documentCount
        ? tokens
        : documents
            .get((int) (document / DOCUMENTS_A_MAP))
            .getLong((int) (8 * (document % DOCUMENTS_A_MAP)));
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the token shards in " + directory + " were closed");
    }
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

  /** Lets go of the maps; the garbage collector unmaps them. */
  @Override
  public void close() {
    closed = true;
    shards.clear();
    documents.clear();
  }
}
