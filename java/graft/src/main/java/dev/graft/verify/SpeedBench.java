package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Device;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Times a case and its peers in turns, so that a machine whose speed drifts treats all alike. */
public final class SpeedBench {
  private static final int TURNS = 5;
  private static final int MOST_RUNS = 20;

  /** The first run times products, the second captures the graph. */
  private static final int WARM_RUNS = 3;

  private final Device device;
  private final DeviceLimits limits;
  private final PyTorchPeer pytorch;
  private final double budget;

  /**
   * @param pytorch official PyTorch on the same device, or null to do without
   * @param budgetSeconds about what one side of a case may take
   */
  public SpeedBench(Device device, DeviceLimits limits, PyTorchPeer pytorch, double budgetSeconds) {
    this.device = device;
    this.limits = limits;
    this.pytorch = pytorch;
    this.budget = budgetSeconds;
  }

  /** Measures one case; what a peer cannot do is told in the result. */
  public SpeedResult measure(SpeedCase one) {
    for (int i = 0; i < WARM_RUNS; i++) {
      timed(one);
    }
    int runs = (int) Math.max(1, Math.min(MOST_RUNS, budget / TURNS / timed(one)));
    double[] own = new double[TURNS * runs];
    Map<String, Double> peers = new LinkedHashMap<>();
    Map<String, String> refused = new LinkedHashMap<>();
    Map<String, ObjectNode> waiting = new LinkedHashMap<>(pytorch == null ? Map.of() : one.peers());
    // One peer has its memory at a time, so each has some turns with Graft's between.
    int turn = 0;
    for (Map.Entry<String, ObjectNode> peer : waiting.entrySet()) {
      try {
        pytorch.prepare(peer.getValue());
        double[] other = new double[TURNS * runs];
        for (int t = 0; t < TURNS; t++) {
          System.arraycopy(pytorch.run(runs), 0, other, t * runs, runs);
          turn(one, own, turn++ % TURNS * runs, runs);
        }
        peers.put(peer.getKey(), Clock.median(other));
      } catch (IllegalStateException | InvalidInputException e) {
        refused.put(peer.getKey(), e.getMessage());
      }
    }
    while (turn < TURNS) {
      turn(one, own, turn++ * runs, runs);
    }
    Arrays.sort(own);
    double seconds = Clock.median(own);
    double spread = (own[own.length * 3 / 4] - own[own.length / 4]) / seconds;
    return new SpeedResult(
        one.name(),
        SpeedCase.name(one.dtype()),
        one.shape(),
        seconds,
        spread,
        one.bytes(),
        one.flops(),
        Math.max(one.bytes() / limits.bytesPerSecond(), one.flops() / limits.flops(one.dtype())),
        one.tokens(),
        peers,
        refused);
  }

  private void turn(SpeedCase one, double[] seconds, int from, int runs) {
    for (int i = 0; i < runs; i++) {
      seconds[from + i] = timed(one) / one.repeats();
    }
  }

  private double timed(SpeedCase one) {
    return Clock.seconds(
        () -> {
          one.run();
          device.synchronize();
        });
  }
}
