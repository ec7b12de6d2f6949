package dev.graft.apply;

import dev.graft.data.TaggedSentence;
import dev.graft.data.TaggedWindow;
import dev.graft.data.TaggedWindows;
import dev.graft.metrics.EntityScheme;
import dev.graft.metrics.EntitySpan;
import dev.graft.model.Network;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordSpans;
import java.util.ArrayList;
import java.util.List;

/**
 * Classes of words, and the entities they mark. Sentences longer than the model takes are read in
 * windows; no word is lost. Serves one thread.
 */
public final class TokenTagger implements AutoCloseable {
  private final List<String> names;
  private final TaggedWindows windows;
  private final PackedForward forward;

  /**
   * Over a network.
   *
   * @param maxLength longest window in tokens; at most the model's positions
   * @param batchSize most windows computed together
   */
  public TokenTagger(Network network, Tokenizer tokenizer, int maxLength, int batchSize) {
    this.names = network.config().labels();
    this.windows = new TaggedWindows(tokenizer, maxLength);
    this.forward = new PackedForward(network, maxLength, batchSize);
  }

  /**
   * The class of each word of each sentence. A word no token stands for has the first class with
   * probability 0.
   */
  public List<List<TaggedWord>> tag(List<List<String>> sentences) {
    List<TaggedSentence> bare =
        sentences.stream().map(words -> new TaggedSentence(words, null)).toList();
    List<List<TaggedWord>> out = new ArrayList<>();
    for (List<String> words : sentences) {
      List<TaggedWord> tagged = new ArrayList<>();
      words.forEach(word -> tagged.add(new TaggedWord(word, names.get(0), 0)));
      out.add(tagged);
    }
    List<TaggedWindow> all = windows.of(bare, null);
    int[] done = {0};
    forward.runExamples(
        all,
        (step, batch) -> {
          float[][] logits = step.classifyTokens(batch);
          for (int w = 0; w < batch.liveSequences; w++) {
            TaggedWindow window = all.get(done[0]++);
            List<TaggedWord> sentence = out.get(window.sentence());
            for (int t = 0; t < window.tokens(); t++) {
              if (window.words()[t] >= 0) {
                double[] p = Softmax.of(logits[batch.cuSeqlens[w] + t]);
                int best = Softmax.top(p, 1)[0];
                sentence.set(
                    window.words()[t],
                    new TaggedWord(
                        sentence.get(window.words()[t]).word(), names.get(best), p[best]));
              }
            }
          }
        });
    return out;
  }

  /**
   * The entities of running texts.
   *
   * @throws IllegalArgumentException if the classes are no tags such as B-PER, I-PER, O
   */
  public List<List<Entity>> entities(List<String> texts) {
    List<WordSpans> spans = texts.stream().map(WordSpans::of).toList();
    List<List<String>> words = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      words.add(spans.get(i).words(texts.get(i)));
    }
    List<List<TaggedWord>> tagged = tag(words);
    List<List<Entity>> out = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      out.add(entities(texts.get(i), spans.get(i), tagged.get(i)));
    }
    return out;
  }

  private static List<Entity> entities(String text, WordSpans words, List<TaggedWord> tagged) {
    List<Entity> entities = new ArrayList<>();
    for (EntitySpan span :
        EntityScheme.LENIENT.spans(tagged.stream().map(TaggedWord::tag).toList())) {
      int begin = words.begins()[span.begin()];
      int end = words.ends()[span.end() - 1];
      double probability =
          tagged.subList(span.begin(), span.end()).stream()
              .mapToDouble(TaggedWord::probability)
              .average()
              .orElse(0);
      entities.add(new Entity(span.type(), text.substring(begin, end), begin, end, probability));
    }
    return entities;
  }

  @Override
  public void close() {
    forward.close();
  }
}
