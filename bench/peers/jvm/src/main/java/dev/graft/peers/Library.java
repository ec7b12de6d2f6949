package dev.graft.peers;

import com.google.gson.JsonObject;

/** A JVM library whose way to a case is timed. */
public interface Library {
  /** Its name and version. */
  String version();

  /**
   * The case as something to run, once run already.
   *
   * @param c as torch_peers.py describes it, of dtype fp32
   * @throws UnsupportedOperationException if the library has no op for it, saying which
   */
  Runnable prepare(JsonObject c);

  /** Frees what the case prepared last holds. */
  void release();
}
