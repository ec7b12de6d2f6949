package dev.graft.apply;

import dev.graft.data.AnswerSearch;
import dev.graft.data.AnswerWindow;
import dev.graft.data.AnswerWindows;
import dev.graft.data.Question;
import dev.graft.model.Network;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;

/**
 * Answers to questions as they stand in texts of any length, which are read in windows. Serves one
 * thread.
 */
public final class QuestionAnswerer implements AutoCloseable {
  /** Longest answer in tokens, as in BERT's own code for SQuAD. */
  public static final int LONGEST_ANSWER = 30;

  private final Tokenizer tokenizer;
  private final int maxLength;
  private final PackedForward forward;

  /**
   * Over a network.
   *
   * @param maxLength longest window in tokens, the question included
   * @param batchSize most windows computed together
   */
  public QuestionAnswerer(Network network, Tokenizer tokenizer, int maxLength, int batchSize) {
    this.tokenizer = tokenizer;
    this.maxLength = maxLength;
    this.forward = new PackedForward(network, maxLength, batchSize);
  }

  /**
   * The best answers to each question, most probable first.
   *
   * @param k answers a question, at least 1
   * @param allowNone whether "the text does not answer it" is a possible answer
   */
  public List<List<FoundAnswer>> answer(List<Question> questions, int k, boolean allowNone) {
    List<Question> bare =
        questions.stream().map(q -> new Question(q.question(), q.context())).toList();
    List<AnswerSearch> searches = new ArrayList<>();
    questions.forEach(q -> searches.add(new AnswerSearch(LONGEST_ANSWER)));
    List<AnswerWindow> all = new AnswerWindows(tokenizer, maxLength).of(bare);
    int[] done = {0};
    forward.runExamples(
        all,
        (step, batch) -> {
          float[][] logits = step.classifyTokens(batch);
          for (int w = 0; w < batch.liveSequences; w++) {
            AnswerWindow window = all.get(done[0]++);
            searches.get(window.question()).add(window, logits, batch.cuSeqlens[w]);
          }
        });
    List<List<FoundAnswer>> out = new ArrayList<>();
    for (int q = 0; q < questions.size(); q++) {
      out.add(found(questions.get(q).context(), searches.get(q).spans(allowNone), k));
    }
    return out;
  }

  private static List<FoundAnswer> found(String context, List<AnswerSearch.Span> spans, int k) {
    float[] scores = new float[spans.size()];
    for (int i = 0; i < scores.length; i++) {
      scores[i] = (float) spans.get(i).score();
    }
    double[] p = Softmax.of(scores);
    List<FoundAnswer> found = new ArrayList<>();
    for (int i = 0; i < Math.min(k, p.length); i++) {
      AnswerSearch.Span span = spans.get(i);
      found.add(
          new FoundAnswer(
              context.substring(span.begin(), span.end()), span.begin(), span.end(), p[i]));
    }
    return found;
  }

  @Override
  public void close() {
    forward.close();
  }
}
