package dev.graft.quickstart;

import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.train.StepEvent;
import java.util.Map;

/** Lets the jobs call a listener one at a time. */
final class SerialListener implements QuickstartListener {
  private final QuickstartListener listener;

  SerialListener(QuickstartListener listener) {
    this.listener = listener;
  }

  @Override
  public synchronized void onPrepared(QuickstartPlan plan) {
    listener.onPrepared(plan);
  }

  @Override
  public synchronized void onStep(Job job, StepEvent event) {
    listener.onStep(job, event);
  }

  @Override
  public synchronized void onValidation(long step, double loss) {
    listener.onValidation(step, loss);
  }

  @Override
  public synchronized void onTrial(Job arm, double learningRate, double validationAccuracy) {
    listener.onTrial(arm, learningRate, validationAccuracy);
  }

  @Override
  public synchronized void onGpt(Gpt gpt) {
    listener.onGpt(gpt);
  }

  @Override
  public synchronized void onPretrained(double loss, String question, Map<String, Double> words) {
    listener.onPretrained(loss, question, words);
  }
}
