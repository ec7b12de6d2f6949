package dev.graft.dist;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.runtime.Tensor;
import dev.graft.train.GradientExchange;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Data parallelism over a process group: given to a run by {@code
 * TrainingOptions.finetuning().exchange(new DataParallel(group))}, in every process alike.
 *
 * <p>The gradients of a step are summed in one call, in place. Two ranks give the bits of one
 * process that accumulates twice as many batches wherever that adds a batch's gradient as a whole;
 * what it adds in parts, and the order of more ranks' sums, differs by rounding.
 */
public final class DataParallel implements GradientExchange {
  private static final int CHUNK = 1 << 18;

  private final ProcessGroup group;

  /** The group stays the caller's to close, after the run. */
  public DataParallel(ProcessGroup group) {
    this.group = group;
  }

  @Override
  public int rank() {
    return group.rank();
  }

  @Override
  public int size() {
    return group.size();
  }

  @Override
  public void sum(long[] values) {
    group.allReduceSum(values);
  }

  @Override
  public void sum(double[] values) {
    group.allReduceSum(values);
  }

  @Override
  public void sum(Tensor tensor) {
    group.allReduceSum(tensor);
  }

  @Override
  public void broadcast(long[] values) {
    group.broadcast(values, 0);
  }

  @Override
  public void broadcast(Tensor tensor) {
    group.broadcast(tensor, 0);
  }

  @Override
  public void barrier() {
    group.barrier();
  }

  /**
   * {@inheritDoc}
   *
   * @throws DistributedException on every rank
   */
  @Override
  public void requireSame(Map<String, String> settings) {
    ObjectNode json = Json.object();
    new TreeMap<>(settings).forEach(json::put);
    byte[] mine = Json.line(json).getBytes(StandardCharsets.UTF_8);
    byte[] first = group.broadcast(mine, 0);
    boolean differs = !Arrays.equals(mine, first);
    requireNone(differs, "the settings", differs ? ": " + differences(settings, first) : "");
  }

  private static String differences(Map<String, String> mine, byte[] first) {
    Map<String, String> theirs = new TreeMap<>();
    Json.parseObject(Path.of("rank 0"), first)
        .fields()
        .forEachRemaining(field -> theirs.put(field.getKey(), field.getValue().asText()));
    TreeSet<String> names = new TreeSet<>(theirs.keySet());
    names.addAll(mine.keySet());
    names.removeIf(name -> Objects.equals(mine.get(name), theirs.get(name)));
    return names.stream()
        .map(name -> name + " is " + mine.get(name) + ", there " + theirs.get(name))
        .collect(Collectors.joining("; "));
  }

  /**
   * {@inheritDoc} Compares by SHA-256.
   *
   * @throws DistributedException on every rank
   */
  @Override
  public void requireSame(List<Tensor> tensors) {
    byte[] mine = hash(tensors);
    requireNone(!Arrays.equals(mine, group.broadcast(mine, 0)), "the weights", "");
  }

  /** Throws on every rank if something of any rank differs. */
  private void requireNone(boolean differs, String what, String details) {
    long[] flags = new long[size()];
    flags[rank()] = differs ? 1 : 0;
    group.allReduceSum(flags);
    List<Integer> ranks = new ArrayList<>();
    for (int r = 0; r < flags.length; r++) {
      if (flags[r] > 0) {
        ranks.add(r);
      }
    }
    if (!ranks.isEmpty()) {
      throw new DistributedException(
          rank(), size(), what + " of ranks " + ranks + " differ from rank 0's" + details, null);
    }
  }

  private static byte[] hash(List<Tensor> tensors) {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java platform has it
    }
    ByteBuffer bytes = ByteBuffer.allocate(CHUNK * Float.BYTES);
    for (Tensor tensor : tensors) {
      for (long first = 0; first < tensor.count(); first += CHUNK) {
        int length = (int) Math.min(CHUNK, tensor.count() - first);
        bytes.clear().asFloatBuffer().put(tensor.floats(first, length));
        digest.update(bytes.limit(length * Float.BYTES));
      }
    }
    return digest.digest();
  }
}
