package dev.graft.runtime;

import java.util.Map;
import java.util.function.Supplier;

/** Products whose algorithms and epilogues are chosen, and stay with a run and its checkpoints. */
abstract class ChoosingGemm implements Gemm {
  /** What was taken so far, and what must be. */
  final RunAlgorithms chosen;

  private Fusing fusing;

  ChoosingGemm(AlgorithmCache cache, Fusing fusing) {
    this.chosen = new RunAlgorithms(cache);
    this.fusing = fusing;
  }

  @Override
  public final Map<String, String> algorithms() {
    return chosen.taken();
  }

  @Override
  public final void require(Map<String, String> entries) {
    chosen.require(entries);
  }

  @Override
  public final Fusing fusing() {
    return fusing;
  }

  @Override
  public final void fuse(Fusing when) {
    fusing = when;
  }

  @Override
  public final boolean choose(String key, Supplier<FusionChoice> measure) {
    return chosen.choose(key, measure);
  }
}
