package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.verify.Clock;
import dev.graft.verify.DeviceLimits;
import dev.graft.verify.PyTorchPeer;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;

/**
 * Times one case: Graft, libtorch and perhaps a peer process in turn, so that a machine whose speed
 * drifts treats all alike; the median of each.
 */
final class KernelBench {
  /**
   * @param graftSeconds median of Graft
   * @param torchSeconds median of libtorch
   * @param peer the peer process' name as keys have it: pytorch, djl, nd4j; null without one
   * @param peerSeconds its median, NaN where it did not run
   * @param limitFraction share of the measured limit that Graft reaches: of copy bandwidth for ops
   *     that move bytes, of the vendor's matrix rate for ops that multiply
   */
  public record Result(
      String op,
      String dtype,
      String shape,
      double graftSeconds,
      double torchSeconds,
      String peer,
      double peerSeconds,
      double limitFraction) {
    /** How many times as fast as libtorch. */
    public double ratio() {
      return torchSeconds / graftSeconds;
    }

    /** How many times as fast as the peer process; NaN where it did not run. */
    public double peerRatio() {
      return peerSeconds / graftSeconds;
    }

    /** One line for people. */
    public String text() {
      String line =
          String.format(
              Locale.ROOT,
              "%-34s %-5s %-28s %10.3f %12.3f %8.2f %9.0f %%",
              op,
              dtype,
              shape,
              graftSeconds * 1e3,
              torchSeconds * 1e3,
              ratio(),
              limitFraction * 100);
      return Double.isNaN(peerSeconds)
          ? line
          : line + String.format(Locale.ROOT, " %12.3f %8.2f", peerSeconds * 1e3, peerRatio());
    }

    /** One line for programs. */
    public String json() {
      ObjectNode line =
          Json.object()
              .put("op", op)
              .put("dtype", dtype)
              .put("shape", shape)
              .put("graft_ms", graftSeconds * 1e3)
              .put("libtorch_ms", torchSeconds * 1e3)
              .put("ratio", ratio())
              .put("limit_fraction", limitFraction);
      if (!Double.isNaN(peerSeconds)) {
        line.put(peer + "_ms", peerSeconds * 1e3).put(peer + "_ratio", peerRatio());
      }
      return Json.line(line);
    }
  }

  private static final int ROUNDS = 5;
  private static final long SETTLE_MILLIS = 60;

  private final DeviceLimits limits;
  private final double budgetSeconds;
  private final PyTorchPeer peer;
  private final String peerName;

  /**
   * @param budgetSeconds about what one case may take
   * @param peer another process, or null to do without
   * @param peerName its name as keys have it
   */
  KernelBench(DeviceLimits limits, double budgetSeconds, PyTorchPeer peer, String peerName) {
    this.limits = limits;
    this.budgetSeconds = budgetSeconds;
    this.peer = peer;
    this.peerName = peerName;
  }

  public Result run(KernelCase kernel) {
    kernel.prepareTorch();
    boolean third = peer != null && prepared(kernel);
    Runnable ours = kernel::runGraft;
    Runnable theirs = () -> torch(kernel);
    theirs.run();
    ours.run();
    double once = Clock.seconds(theirs) + Clock.seconds(ours);
    int runs = (int) Math.max(1, Math.min(40, budgetSeconds / ROUNDS / Math.max(once, 1e-6)));
    double[] own = new double[ROUNDS * runs];
    double[] libtorch = new double[ROUNDS * runs];
    double[] official = new double[ROUNDS * runs];
    for (int round = 0; round < ROUNDS; round++) {
      turn(ours, own, round * runs, runs);
      turn(theirs, libtorch, round * runs, runs);
      if (third) {
        settle();
        System.arraycopy(peer.run(runs), 0, official, round * runs, runs);
      }
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
        Clock.median(libtorch),
        peerName,
        third ? Clock.median(official) : Double.NaN,
        fraction);
  }

  /** Whether the peer has the case; if not, standard error says why. */
  private boolean prepared(KernelCase kernel) {
    ObjectNode asked = kernel.pytorch();
    if (asked == null) {
      return false;
    }
    try {
      peer.prepare(asked.put("dtype", kernel.dtypeName()));
      return true;
    } catch (IllegalStateException e) {
      System.err.printf("%s: %s%n", peerName, e.getMessage());
      return false;
    }
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
