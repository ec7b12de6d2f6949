package dev.graft.bench;

import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;

/**
 * Times one case: Graft and libtorch in turn, so that a machine whose speed drifts treats both
 * alike; the median of each.
 */
public final class KernelBench {
  /**
   * @param graftSeconds median of Graft
   * @param torchSeconds median of libtorch
   * @param limitFraction share of the measured limit that Graft reaches: of copy bandwidth for ops
   *     that move bytes, of the vendor's matrix rate for ops that multiply
   */
  public record Result(
      String op,
      String dtype,
      String shape,
      double graftSeconds,
      double torchSeconds,
      double limitFraction) {
    public double ratio() {
      return torchSeconds / graftSeconds;
    }

    /** One line for people. */
    public String text() {
      return String.format(
          Locale.ROOT,
          "%-34s %-5s %-28s %10.3f %12.3f %8.2f %9.0f %%",
          op,
          dtype,
          shape,
          graftSeconds * 1e3,
          torchSeconds * 1e3,
          ratio(),
          limitFraction * 100);
    }

    /** One line for programs. */
    public String json() {
      return String.format(
          Locale.ROOT,
          "{\"op\":\"%s\",\"dtype\":\"%s\",\"shape\":\"%s\",\"graft_ms\":%.4f,"
              + "\"libtorch_ms\":%.4f,\"ratio\":%.3f,\"limit_fraction\":%.3f}",
          op,
          dtype,
          shape,
          graftSeconds * 1e3,
          torchSeconds * 1e3,
          ratio(),
          limitFraction);
    }
  }

  private static final int ROUNDS = 5;
  private static final long SETTLE_MILLIS = 60;

  private final Limits limits;
  private final double budgetSeconds;

  /** {@code budgetSeconds} is about what one case may take. */
  public KernelBench(Limits limits, double budgetSeconds) {
    this.limits = limits;
    this.budgetSeconds = budgetSeconds;
  }

  public Result run(KernelCase kernel) {
    kernel.prepareTorch();
    Runnable ours = kernel::runGraft;
    Runnable peers = () -> torch(kernel);
    peers.run();
    ours.run();
    double once = Clock.seconds(peers) + Clock.seconds(ours);
    int runs = (int) Math.max(1, Math.min(40, budgetSeconds / ROUNDS / Math.max(once, 1e-6)));
    double[] own = new double[ROUNDS * runs];
    double[] peer = new double[ROUNDS * runs];
    for (int round = 0; round < ROUNDS; round++) {
      turn(ours, own, round * runs, runs);
      turn(peers, peer, round * runs, runs);
    }
    double graftSeconds = Clock.median(own);
    double fraction =
        kernel.bytes() > 0
            ? kernel.bytes() / graftSeconds / limits.bytesPerSecond()
            : kernel.flops()
                / graftSeconds
                / (kernel.dtypeName().equals("bf16") ? limits.flopsBf16() : limits.flopsFp32());
    return new Result(
        kernel.op(),
        kernel.dtypeName(),
        kernel.shape(),
        graftSeconds,
        Clock.median(peer),
        fraction);
  }

  /** Runs once to wake threads and caches, then timed. */
  private static void turn(Runnable kernel, double[] seconds, int from, int runs) {
    settle();
    kernel.run();
    for (int i = 0; i < runs; i++) {
      seconds[from + i] = Clock.seconds(kernel);
    }
  }

  /** Until the other side's idle threads sleep. */
  private static void settle() {
    try {
      Thread.sleep(SETTLE_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The scope frees libtorch's intermediate tensors at once, as C++ would. */
  private static void torch(KernelCase kernel) {
    try (PointerScope scope = new PointerScope()) {
      kernel.runTorch();
    }
  }
}
