package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * {@code metrics.jsonl}: one object a line, in order of its {@code step}. Lines {@code
 * "type":"train"} hold loss, grad_norm, learning_rate, tokens_per_second and so on; lines {@code
 * "type":"eval"} the evaluator's metrics. Opened for a resume it is cut behind the resumed step, so
 * that no step is there twice and no half line is left from a kill.
 */
final class MetricsLog implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;

  private MetricsLog(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /** Opens the log and cuts what is behind {@code step}; an empty log for step 0. */
  static MetricsLog open(Path file, long step) {
    try {
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      channel.truncate(step == 0 ? 0 : keptBytes(file, step));
      channel.position(channel.size());
      return new MetricsLog(file, channel);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  private static long keptBytes(Path file, long step) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    int kept = 0;
    for (int at = 0; at < bytes.length; at++) {
      if (bytes[at] != '\n') {
        continue;
      }
      byte[] line = java.util.Arrays.copyOfRange(bytes, kept, at);
      if (stepOf(file, line) > step) {
        break;
      }
      kept = at + 1;
    }
    return kept;
  }

  /** A line that a crash left broken counts as behind every step. */
  private static long stepOf(Path file, byte[] line) {
    try {
      return Json.parseObject(file, line).path("step").asLong(Long.MAX_VALUE);
    } catch (InvalidInputException e) {
      return Long.MAX_VALUE;
    }
  }

  void train(StepEvent e) {
    write(e.toJson());
  }

  void evaluation(EvalEvent e) {
    write(e.toJson());
  }

  private void write(ObjectNode line) {
    try {
      AtomicFiles.writeFully(
          channel, ByteBuffer.wrap((Json.line(line) + "\n").getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** Makes what was written durable; done before a checkpoint that counts on it. */
  void sync() {
    try {
      channel.force(false);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
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
