package dev.graft.train;

import java.nio.file.Path;

/** Hears of a run's course, on the thread that trains. An exception it throws ends the run. */
public interface TrainingListener {
  /** A listener that does nothing. */
  TrainingListener NONE = new TrainingListener() {};

  /** What is done before the first step, which may take long; one line for people. */
  default void onPrepare(String what) {}

  /** Every {@link TrainingOptions#logEvery} steps and after the last. */
  default void onStep(StepEvent event) {}

  /** After each evaluation. */
  default void onEvaluation(EvalEvent event) {}

  /** A checkpoint is complete and durable. */
  default void onCheckpoint(Path checkpoint) {}

  /** The run goes on from a checkpoint at {@code step}. */
  default void onResume(Path checkpoint, long step) {}
}
