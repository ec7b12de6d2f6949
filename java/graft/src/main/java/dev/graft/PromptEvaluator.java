package dev.graft;

import dev.graft.apply.GenerationOptions;
import dev.graft.apply.TextGenerator;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptSource;
import dev.graft.data.PromptTemplate;
import dev.graft.metrics.Rouge;
import dev.graft.model.Network;
import dev.graft.text.Tokenizer;
import dev.graft.train.Evaluator;
import dev.graft.train.LossEvaluator;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A language model on prompts with known completions: the loss over the completions ({@code loss},
 * what it is judged by, {@code perplexity}, {@code tokens}), and ROUGE of what it writes itself
 * ({@code rouge1}, {@code rouge2}, {@code rougeL}), greedily, for the first of them.
 */
final class PromptEvaluator implements Evaluator {
  private static final int BATCH = 8;

  private final List<PromptExample> written;
  private final PromptTemplate template;
  private final Tokenizer tokenizer;
  private final LossEvaluator loss;

  /**
   * @param maxLength longest sequence in tokens
   * @param examples how many the model writes itself; 0: no ROUGE
   */
  PromptEvaluator(
      List<PromptExample> set,
      PromptTemplate template,
      Tokenizer tokenizer,
      int maxLength,
      int examples) {
    this.written = set.subList(0, Math.min(examples, set.size()));
    this.template = template;
    this.tokenizer = tokenizer;
    loss = new LossEvaluator(PromptSource.of(set, template, tokenizer, maxLength, BATCH, false, 0));
  }

  @Override
  public Map<String, Double> evaluate(Network network) {
    Map<String, Double> metrics = new LinkedHashMap<>(loss.evaluate(network));
    if (written.isEmpty()) {
      return metrics;
    }
    Rouge rouge = new Rouge();
    TextGenerator generator = new TextGenerator(network, tokenizer);
    for (int from = 0; from < written.size(); from += BATCH) {
      List<PromptExample> batch = written.subList(from, Math.min(from + BATCH, written.size()));
      // Room for the longest of them: what runs on is not read on.
      int longest = 1;
      for (PromptExample example : batch) {
        int[] completion = template.encodeCompletion(tokenizer, example.completion());
        longest = Math.max(longest, completion.length + 1);
      }
      GenerationOptions options =
          GenerationOptions.greedy(
              Math.min(longest, Math.max(1, network.config().maxPositions() / 2)));
      List<String> texts = generator.complete(new ArrayList<>(batch), template, options);
      for (int i = 0; i < batch.size(); i++) {
        rouge.add(texts.get(i), List.of(batch.get(i).completion()));
      }
    }
    metrics.putAll(rouge.toMap());
    return metrics;
  }

  @Override
  public String mainMetric() {
    return loss.mainMetric();
  }

  @Override
  public boolean higherIsBetter() {
    return loss.higherIsBetter();
  }

  @Override
  public void close() {
    loss.close();
  }
}
