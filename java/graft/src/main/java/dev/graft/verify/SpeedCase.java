package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.runtime.DType;
import java.util.Map;

/** Work whose time is taken, and the same work in PyTorch. */
public interface SpeedCase extends AutoCloseable {
  /** For example {@code attention forward}. */
  String name();

  DType dtype();

  /** For example {@code B16 T1024 H12 D64 causal}. */
  String shape();

  /** Enqueues the work {@link #repeats} times. */
  void run();

  /** How often one run does the work. */
  default int repeats() {
    return 1;
  }

  /** Bytes that have to be moved at least to do it once; 0 if arithmetic bounds it. */
  default double bytes() {
    return 0;
  }

  /** Floating-point operations of doing it once; 0 if memory bounds it. */
  default double flops() {
    return 0;
  }

  /** Tokens that doing it once trains on or writes; 0 if it is no whole model. */
  default int tokens() {
    return 0;
  }

  /** The ways to do it in PyTorch, as cases of bench/peers/torch_peers.py. */
  Map<String, ObjectNode> peers();

  @Override
  void close();

  /** A dtype as results and peers name it. */
  static String name(DType dtype) {
    return dtype == DType.BFLOAT16 ? "bf16" : "fp32";
  }
}
