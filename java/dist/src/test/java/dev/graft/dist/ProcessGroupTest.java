package dev.graft.dist;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ranks as threads of one process, each with a group of its own. */
class ProcessGroupTest {
  private static final Duration TIMEOUT = Duration.ofSeconds(30);

  /**
   * A process has one group and closes it at its end, as the workers of {@link DataParallelTest}
   * do. Taking many down in one process, as threads do, now and then crashed in libtorch.
   */
  private static final Queue<ProcessGroup> LEFT_OPEN = new ConcurrentLinkedQueue<>();

  private interface Body<T> {
    T run(ProcessGroup group, Device device);
  }

  private static Rendezvous at(int rank, int size, int port) {
    return new Rendezvous(rank, size, "127.0.0.1", port, TIMEOUT);
  }

  /** What each rank returned, or the exception it threw. */
  private static List<Object> ranks(int size, Duration timeout, Body<?> body) throws Exception {
    int port = Ranks.freePort();
    ExecutorService threads = Executors.newFixedThreadPool(size);
    try {
      List<Future<Object>> running = new ArrayList<>();
      for (int r = 0; r < size; r++) {
        Rendezvous at = at(r, size, port).withTimeout(timeout);
        running.add(
            threads.submit(
                () -> {
                  try (Device device = Device.cpu(1)) {
                    ProcessGroup group = ProcessGroup.open(at);
                    LEFT_OPEN.add(group);
                    return body.run(group, device);
                  } catch (RuntimeException e) {
                    return e;
                  }
                }));
      }
      List<Object> results = new ArrayList<>();
      for (Future<Object> future : running) {
        results.add(future.get());
      }
      return results;
    } finally {
      threads.shutdown();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void sums_areOfAllRanks_inPlace(int size) throws Exception {
    int count = 100_003;
    List<Object> results =
        ranks(
            size,
            TIMEOUT,
            (group, device) -> {
              try (Arena arena = new Arena(device, "test")) {
                Tensor tensor = arena.zeros("x", DType.FLOAT32, count);
                float[] values = new float[count];
                for (int i = 0; i < count; i++) {
                  values[i] = i * (group.rank() + 1);
                }
                tensor.put(0, values);
                group.allReduceSum(tensor);
                // A view is summed where it lies and leaves the rest alone.
                group.allReduceSum(tensor.view(10, 1));
                long[] longs = {group.rank(), Long.MAX_VALUE / 8};
                group.allReduceSum(longs);
                double[] doubles = {0.5 * group.rank()};
                group.allReduceSum(doubles);
                group.allReduceSum(new long[0]);
                group.barrier();
                return List.of(
                    tensor.floats(), longs[0], longs[1], doubles[0], group.rank(), group.size());
              }
            });
    long sum = size * (size + 1) / 2;
    float[] expected = new float[count];
    for (int i = 0; i < count; i++) {
      expected[i] = i * sum;
    }
    expected[10] *= size;
    for (int r = 0; r < size; r++) {
      List<?> result = (List<?>) results.get(r);
      assertThat((float[]) result.get(0)).isEqualTo(expected);
      assertThat(result.subList(1, 6))
          .isEqualTo(
              Arrays.asList(sum - size, size * (Long.MAX_VALUE / 8), 0.5 * (sum - size), r, size));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void broadcast_takesTheRootsValues(int root) throws Exception {
    List<Object> results =
        ranks(
            3,
            TIMEOUT,
            (group, device) -> {
              try (Arena arena = new Arena(device, "test")) {
                Tensor bf16 = arena.zeros("x", DType.BFLOAT16, 3, 5);
                float[] values = new float[15];
                Arrays.fill(values, 1 + group.rank());
                bf16.put(0, values);
                group.broadcast(bf16, root);
                long[] longs = {group.rank()};
                group.broadcast(longs, root);
                byte[] text = "é".repeat(group.rank()).getBytes(StandardCharsets.UTF_8);
                return List.of(
                    bf16.floats()[14],
                    longs[0],
                    new String(group.broadcast(text, root), StandardCharsets.UTF_8));
              }
            });
    for (Object result : results) {
      assertThat(result).isEqualTo(List.of(1f + root, (long) root, "é".repeat(root)));
    }
  }

  /** Sums whose order shows in their bits: the same on every rank, and in a second run. */
  @Test
  void sumsOfThree_haveTheSameBitsOnEveryRankAndInEveryRun() throws Exception {
    Body<int[]> body =
        (group, device) -> {
          try (Arena arena = new Arena(device, "test")) {
            Tensor tensor = arena.zeros("x", DType.FLOAT32, 50_000);
            float[] values = new float[50_000];
            for (int i = 0; i < values.length; i++) {
              values[i] = (float) Math.sin(i * 3.7 + group.rank() * 1.3);
            }
            tensor.put(0, values);
            group.allReduceSum(tensor);
            float[] sums = tensor.floats();
            int[] bits = new int[sums.length];
            Arrays.setAll(bits, i -> Float.floatToRawIntBits(sums[i]));
            return bits;
          }
        };
    List<Object> first = ranks(3, TIMEOUT, body);
    List<Object> second = ranks(3, TIMEOUT, body);
    for (int r = 0; r < 3; r++) {
      assertThat((int[]) first.get(r)).isEqualTo((int[]) first.get(0));
      assertThat((int[]) second.get(r)).isEqualTo((int[]) first.get(0));
    }
  }

  @Test
  void aRankThatDoesNotAnswer_endsTheOthersInTime_andTheGroup() throws Exception {
    List<Object> results =
        ranks(
            2,
            Duration.ofSeconds(1),
            (group, device) -> {
              if (group.rank() == 1) {
                sleep(2500);
                return "";
              }
              long start = System.nanoTime();
              assertThatThrownBy(() -> group.allReduceSum(new long[3]))
                  .isInstanceOf(DistributedException.class)
                  .hasMessageStartingWith("rank 0 of 2: all-reduce of 3 counts failed: ")
                  .hasMessageNotContaining("/home/");
              double seconds = (System.nanoTime() - start) * 1e-9;
              assertThatThrownBy(group::barrier)
                  .isInstanceOf(DistributedException.class)
                  .hasMessageContaining("cannot be used since an operation failed");
              return seconds;
            });
    assertThat((Double) results.get(0)).isBetween(0.9, 2.4);
  }

  private static void sleep(long milliseconds) {
    try {
      Thread.sleep(milliseconds);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void nobodyThere_isSaidInTime() throws Exception {
    for (int rank = 0; rank < 2; rank++) {
      Rendezvous at = at(rank, 2, Ranks.freePort()).withTimeout(Duration.ofSeconds(1));
      long start = System.nanoTime();
      assertThatThrownBy(() -> ProcessGroup.open(at))
          .isInstanceOf(DistributedException.class)
          .hasMessageStartingWith(
              "rank " + rank + " of 2: could not meet the others at 127.0.0.1:" + at.port());
      assertThat((System.nanoTime() - start) * 1e-9).isLessThan(10);
    }
  }

  @Test
  void whatDiffersFromRank0_isNamedOnEveryRank() throws Exception {
    List<Object> settings =
        ranks(
            3,
            TIMEOUT,
            (group, device) -> {
              DataParallel exchange = new DataParallel(group);
              exchange.requireSame(Map.of("same", "1"));
              exchange.requireSame(Map.of("rate", group.rank() == 1 ? "2" : "1"));
              return "";
            });
    assertThat(settings.get(0)).isInstanceOf(DistributedException.class);
    assertThat((Exception) settings.get(2))
        .hasMessage("rank 2 of 3: the settings of ranks [1] differ from rank 0's");
    assertThat((Exception) settings.get(1))
        .hasMessage(
            "rank 1 of 3: the settings of ranks [1] differ from rank 0's: rate is 2, there 1");
    List<Object> weights =
        ranks(
            2,
            TIMEOUT,
            (group, device) -> {
              try (Arena arena = new Arena(device, "test")) {
                Tensor tensor = arena.zeros("x", DType.FLOAT32, 300_000);
                DataParallel exchange = new DataParallel(group);
                exchange.requireSame(List.of(tensor, tensor));
                // The last element, by its sign alone.
                tensor.put(299_999, new float[] {group.rank() == 1 ? -0f : 0f});
                exchange.requireSame(List.of(tensor, tensor));
                return "";
              }
            });
    for (int r = 0; r < 2; r++) {
      assertThat((Exception) weights.get(r))
          .isInstanceOf(DistributedException.class)
          .hasMessage("rank " + r + " of 2: the weights of ranks [1] differ from rank 0's");
    }
  }

  @Test
  void closedGroup_andWrongRoot_areRefused() throws Exception {
    ProcessGroup group = ProcessGroup.open(at(0, 1, Ranks.freePort()));
    assertThatThrownBy(() -> group.broadcast(new long[1], 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("root: expected rank 0 to 0, got 1");
    group.close();
    group.close();
    assertThatThrownBy(group::barrier)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("after it was closed");
  }

  /** The tests run with the preset's CPU classifier. */
  @Test
  void withoutNccl_itIsSaidWhatIsMissing() {
    assertThatThrownBy(() -> Nccl.connect(at(1, 2, 29500), null))
        .isInstanceOf(DistributedException.class)
        .hasMessageStartingWith("rank 1 of 2: there is no NCCL: put the -gpu classifier");
  }
}
