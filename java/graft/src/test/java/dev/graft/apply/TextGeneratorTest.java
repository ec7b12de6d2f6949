package dev.graft.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.data.Batch;
import dev.graft.model.Decoder;
import dev.graft.model.EvalStep;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.program.Ops.Sampling;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.BpeTrainer;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A network with random weights writes bytes at random, half characters among them: what a text
 * must survive. Oracles: the decoder driven by hand and its ids decoded at once; logits of whole
 * passes.
 */
class TextGeneratorTest {
  private static final int POSITIONS = 24;
  private static final String PROMPT = "To be 中";

  @TempDir Path directory;
  private Device device;
  private Network network;
  private Tokenizer tokenizer;
  private TextGenerator generator;

  @BeforeEach
  void open() {
    Path corpus =
        TextFixtures.write(
            directory.resolve("corpus.txt"), String.join("\n", TextFixtures.texts()));
    tokenizer = BpeTrainer.train(List.of(corpus), 400, 1);
    device = Device.cpu();
    network =
        Network.create(
            device,
            Gpt2Config.of(tokenizer.vocabSize(), POSITIONS, 32, 2, 2),
            Task.CAUSAL_LM,
            DType.FLOAT32,
            7);
    generator = new TextGenerator(network, tokenizer);
  }

  @AfterEach
  void close() {
    network.close();
    device.close();
    tokenizer.close();
  }

  private static GenerationOptions options(
      int tokens, double temperature, long seed, String... stop) {
    return new GenerationOptions(tokens, temperature, 0, 1, 1, seed, List.of(stop));
  }

  /** Ids written by the decoder alone, the window sliding where it is full. */
  private List<Integer> ids(GenerationOptions options) {
    List<Integer> context = new ArrayList<>();
    Arrays.stream(tokenizer.ids(PROMPT)).forEach(context::add);
    List<Integer> written = new ArrayList<>();
    Sampling sampling =
        new Sampling(
            (float) options.temperature(),
            options.topK(),
            (float) options.topP(),
            (float) options.repetitionPenalty(),
            0);
    try (Decoder decoder = new Decoder(network, 1, sampling, options.seed())) {
      int next = decoder.prefill(new int[][] {array(context)})[0];
      while (next != tokenizer.eosId()) {
        context.add(next);
        written.add(next);
        if (written.size() == options.maxNewTokens()) {
          break;
        }
        next =
            decoder.length(0) < POSITIONS
                ? decoder.step(new int[] {next})[0]
                : decoder
                    .prefill(
                        new int[][] {
                          array(context.subList(context.size() - POSITIONS / 2, context.size()))
                        })[0];
      }
    }
    return written;
  }

  private static int[] array(List<Integer> list) {
    return list.stream().mapToInt(Integer::intValue).toArray();
  }

  @Test
  void textsAreTheirTokensDecodedAtOnce_alsoWhereTheWindowSlides() {
    int slid = 0;
    for (long seed = 0; seed < 12; seed++) {
      GenerationOptions options = options(90, 1, seed);
      List<Integer> ids = ids(options);
      slid += ids.size() > POSITIONS ? 1 : 0;
      List<String> pieces = new ArrayList<>();
      String text = generator.generate(PROMPT, options, pieces::add);
      assertThat(text).isEqualTo(tokenizer.decode(array(ids), true));
      assertThat(String.join("", pieces)).isEqualTo(text);
      for (String piece : pieces) {
        assertThat(piece).isNotEmpty();
        assertThat(Character.isLowSurrogate(piece.charAt(0))).isFalse();
        assertThat(Character.isHighSurrogate(piece.charAt(piece.length() - 1))).isFalse();
      }
      assertThat(generator.generate(PROMPT, options)).isEqualTo(text);
    }
    assertThat(slid).isGreaterThan(5);
  }

  @Test
  void writingEndsBeforeAStopString() {
    int stopped = 0;
    for (long seed = 0; seed < 4; seed++) {
      String whole = generator.generate(PROMPT, options(60, 1, seed));
      for (int at = 1; at + 3 < whole.length(); at += 7) {
        String stop = whole.substring(at, at + 1 + at % 3);
        if (stop.contains("\uFFFD") || !Character.isLetterOrDigit(stop.charAt(0))) {
          continue;
        }
        List<String> pieces = new ArrayList<>();
        String text =
            generator.generate(PROMPT, options(60, 1, seed, "never there", stop), pieces::add);
        assertThat(text).isEqualTo(whole.substring(0, whole.indexOf(stop)));
        assertThat(String.join("", pieces)).isEqualTo(text);
        stopped++;
      }
    }
    assertThat(stopped).isGreaterThan(10);
  }

  private float[] logits(List<Integer> context) {
    Batch batch = new Batch(context.size(), 1, POSITIONS).begin();
    batch.beginSequence(Batch.IGNORED);
    for (int i = 0; i < context.size(); i++) {
      batch.addToken(context.get(i), i, 0, Batch.IGNORED);
    }
    batch.finish();
    try (EvalStep step = new EvalStep(network, Limits.of(batch))) {
      return step.vocabularyLogits(batch, context.size() - 1)[0];
    }
  }

  /** The penalty of Keskar et al., arXiv:1909.05858, section 4.1, as it is in use: by sign. */
  @Test
  void greedyIsTheArgMax_withAndWithoutRepetitionPenalty() {
    Set<String> texts = new LinkedHashSet<>();
    for (double penalty : new double[] {1, 1.5}) {
      List<Integer> context = new ArrayList<>();
      Arrays.stream(tokenizer.ids(PROMPT)).forEach(context::add);
      List<Integer> written = new ArrayList<>();
      while (written.size() < 12) {
        float[] logits = logits(context);
        for (int id : Set.copyOf(context)) {
          logits[id] *= (float) (logits[id] > 0 ? 1 / penalty : penalty);
        }
        int best = 0;
        for (int id = 1; id < logits.length; id++) {
          best = logits[id] > logits[best] ? id : best;
        }
        if (best == tokenizer.eosId()) {
          break;
        }
        context.add(best);
        written.add(best);
      }
      String expected = tokenizer.decode(array(written), true);
      String text =
          generator.generate(
              PROMPT, new GenerationOptions(written.size(), 0, 0, 1, penalty, 0, List.of()));
      assertThat(text).isEqualTo(expected);
      texts.add(text);
    }
    assertThat(texts).as("the penalty makes a difference").hasSize(2);
  }

  @Test
  void promptsTogetherWriteGreedilyAsEachAlone() {
    List<String> prompts = List.of("a", PROMPT, "the question is whether", "");
    List<String> alone = new ArrayList<>();
    for (String prompt : prompts) {
      alone.add(generator.generate(prompt, GenerationOptions.greedy(10)));
    }
    assertThat(generator.generate(prompts, GenerationOptions.greedy(10))).isEqualTo(alone);
    assertThat(generator.generate(List.of(), GenerationOptions.greedy(10))).isEmpty();
  }

  @Test
  void optionsThatCannotBe() {
    for (double[] wrong :
        new double[][] {
          {0, 1, 0, 1, 1}, {1, -1, 0, 1, 1}, {1, Double.NaN, 0, 1, 1}, {1, 1, -1, 1, 1},
          {1, 1, 0, 0, 1}, {1, 1, 0, 1.1, 1}, {1, 1, 0, 1, 0}, {1, 1, 0, 1, Double.NaN}
        }) {
      assertThatThrownBy(
              () ->
                  new GenerationOptions(
                      (int) wrong[0], wrong[1], (int) wrong[2], wrong[3], wrong[4], 0, List.of()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("generation: expected");
    }
  }
}
