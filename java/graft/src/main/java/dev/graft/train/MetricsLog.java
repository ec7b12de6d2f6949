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
import java.util.Map;

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
    ObjectNode line = Json.object();
    line.put("type", "train").put("step", e.step()).put("epoch", rounded(e.epoch()));
    number(line, "loss", e.loss());
    number(line, "grad_norm", e.gradNorm());
    line.put("learning_rate", e.learningRate());
    line.put("tokens", e.tokens());
    number(line, "tokens_per_second", Math.rint(e.tokensPerSecond()));
    number(line, "elapsed_seconds", rounded(e.elapsedSeconds()));
    line.put("skipped_steps", e.skippedSteps());
    write(line);
  }

  void evaluation(EvalEvent e) {
    ObjectNode line = Json.object();
    line.put("type", "eval").put("step", e.step()).put("best", e.best());
    for (Map.Entry<String, Double> metric : e.metrics().entrySet()) {
      number(line, metric.getKey(), metric.getValue());
    }
    write(line);
  }

  /** JSON knows no NaN. */
  private static void number(ObjectNode line, String name, double value) {
    if (Double.isFinite(value)) {
      line.put(name, value);
    } else {
      line.putNull(name);
    }
  }

  private static double rounded(double value) {
    return Math.rint(value * 1000) / 1000;
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
