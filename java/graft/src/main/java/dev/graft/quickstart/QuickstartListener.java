package dev.graft.quickstart;

import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.train.StepEvent;
import java.util.Map;

/** Hears of a quickstart's course. Calls come from several threads, one at a time. */
public interface QuickstartListener {
  /** A listener that does nothing. */
  QuickstartListener NONE = new QuickstartListener() {};

  /** The data are there and training is about to begin. */
  default void onPrepared(QuickstartPlan plan) {}

  /** Steps were done; of fine-tuning, this is told for each learning rate's training. */
  default void onStep(Job job, StepEvent event) {}

  /** The GPT was judged on the whole validation text. */
  default void onValidation(long step, double loss) {}

  /** A fine-tuning with one learning rate ended. */
  default void onTrial(Job arm, double learningRate, double validationAccuracy) {}

  /** The GPT is done and wrote its text. */
  default void onGpt(Gpt gpt) {}

  /** BERT's pretraining is done: the words it puts for the mask of a question. */
  default void onPretrained(double loss, String question, Map<String, Double> words) {}
}
