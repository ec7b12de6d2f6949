package dev.graft.data;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/** Writes the files {@link TokenShards} reads; the manifest last, so that it vouches for them. */
final class TokenShardsWriter implements Documents.Sink, AutoCloseable {
  /** A file that grows, its checksum beside it. */
  private static final class Output implements AutoCloseable {
    private final FileChannel channel;
    private final ByteBuffer buffer = ByteBuffer.allocate(1 << 18).order(ByteOrder.LITTLE_ENDIAN);
    private final CRC32C sum = new CRC32C();

    Output(Path file) throws IOException {
      channel =
          FileChannel.open(
              file,
              StandardOpenOption.CREATE,
              StandardOpenOption.WRITE,
              StandardOpenOption.TRUNCATE_EXISTING);
    }

    ByteBuffer room() throws IOException {
      if (buffer.remaining() < 8) {
        flush();
      }
      return buffer;
    }

    private void flush() throws IOException {
      buffer.flip();
      sum.update(buffer.duplicate());
      AtomicFiles.writeFully(channel, buffer);
      buffer.clear();
    }

    /** Makes it durable and closes it. */
    String finish() throws IOException {
      flush();
      channel.force(true);
      channel.close();
      return Long.toHexString(sum.getValue());
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }

  private final Path directory;
  private final Tokenizer tokenizer;
  private final long shardTokens;
  private final int bytes;
  private final List<String> sums = new ArrayList<>();
  private final Output starts;
  private Output shard;
  private long tokens;
  private long documents;
  private long documentStart;
  private boolean finished;

  TokenShardsWriter(Path directory, Tokenizer tokenizer, long shardTokens) throws IOException {
    this.directory = directory;
    this.tokenizer = tokenizer;
    this.shardTokens = shardTokens;
    bytes = tokenizer.vocabSize() <= 1 << 16 ? 2 : 4;
    Files.createDirectories(directory);
    clear();
    starts = new Output(directory.resolve(TokenShards.DOCUMENTS));
  }

  /** The manifest goes first: without it the rest is nothing. */
  private void clear() throws IOException {
    Files.deleteIfExists(directory.resolve(TokenShards.MANIFEST));
    Files.deleteIfExists(directory.resolve(TokenShards.DOCUMENTS));
    try (DirectoryStream<Path> old = Files.newDirectoryStream(directory, "tokens-*.bin")) {
      for (Path file : old) {
        Files.delete(file);
      }
    }
  }

  @Override
  public void text(String piece) {
    try {
      for (int id : tokenizer.ids(piece)) {
        put(id);
      }
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    }
  }

  @Override
  public void endOfDocument() {
    if (tokens == documentStart) {
      return;
    }
    try {
      if (tokenizer.eosId() >= 0) {
        put(tokenizer.eosId());
      }
      starts.room().putLong(documentStart);
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    }
    documents++;
    documentStart = tokens;
  }

  private void put(int id) throws IOException {
    if (tokens % shardTokens == 0) {
      closeShard();
      shard = new Output(directory.resolve(TokenShards.shardName(sums.size())));
    }
    if (bytes == 2) {
      shard.room().putShort((short) id);
    } else {
      shard.room().putInt(id);
    }
    tokens++;
  }

  private void closeShard() throws IOException {
    if (shard != null) {
      sums.add(shard.finish());
      shard = null;
    }
  }

  void finish(String source) throws IOException {
    if (tokens == 0) {
      throw new InvalidInputException(source + ": there is no token in the text");
    }
    closeShard();
    ObjectNode json = Json.object();
    json.put("version", TokenShards.VERSION)
        .put("tokens", tokens)
        .put("documents", documents)
        .put("tokens_per_shard", shardTokens)
        .put("bytes_per_token", bytes)
        .put("vocab_size", tokenizer.vocabSize())
        .put("vocabulary", tokenizer.fingerprint())
        .put("documents_crc32c", starts.finish());
    ArrayNode list = json.putArray("shards");
    sums.forEach(sum -> list.addObject().put("crc32c", sum));
    AtomicFiles.write(directory.resolve(TokenShards.MANIFEST), Json.pretty(json));
    finished = true;
  }

  @Override
  public void close() throws IOException {
    starts.close();
    if (shard != null) {
      shard.close();
    }
    if (!finished) {
      clear();
    }
  }
}
