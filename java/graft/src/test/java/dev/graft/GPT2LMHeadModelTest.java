package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.apply.GenerationOptions;
import dev.graft.data.Batch;
import dev.graft.data.Corpus;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.EvalStep;
import dev.graft.model.Limits;
import dev.graft.text.Tokenizer;
import dev.graft.train.CorpusOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GPT2LMHeadModelTest {
  @TempDir Path folder;

  /** A tokenizer whose token i is the character U+4E00 + i, so that any ids can be spelled. */
  private static void writeTokenizer(Path directory, int size) {
    ObjectNode json = Json.object();
    ObjectNode split = json.putObject("pre_tokenizer");
    split.put("type", "Split").put("behavior", "Isolated").put("invert", false);
    split.putObject("pattern").put("Regex", "[\\s\\S]");
    json.put("version", "1.0").putArray("added_tokens");
    json.putObject("decoder").put("type", "Fuse");
    ObjectNode model = json.putObject("model");
    model.put("type", "WordLevel").put("unk_token", spelled(0));
    ObjectNode vocabulary = model.putObject("vocab");
    IntStream.range(0, size).forEach(id -> vocabulary.put(spelled(id), id));
    Fixtures.write(directory.resolve("tokenizer.json"), Json.pretty(json));
  }

  private static String spelled(int id) {
    return String.valueOf((char) (0x4E00 + id));
  }

  private static String spelled(JsonNode ids, int from, int to) {
    StringBuilder text = new StringBuilder();
    for (int i = from; i < to; i++) {
      text.append(spelled(ids.get(i).asInt()));
    }
    return text.toString();
  }

  /** Oracle: greedy ids of the reference implementation (expected.json of the model). */
  @Test
  void greedy_writesWhatTheReferenceWrites() throws IOException {
    Path source = Fixtures.model("hf-tiny-random-gpt2");
    Path directory = Files.createDirectories(folder.resolve("model"));
    for (String file : new String[] {"config.json", "model.safetensors"}) {
      Files.copy(source.resolve(file), directory.resolve(file));
    }
    writeTokenizer(directory, 1000);
    ObjectNode expected = Json.readObject(source.resolve("expected.json"));
    List<String> prompts = new ArrayList<>();
    List<String> continuations = new ArrayList<>();
    for (JsonNode sequence : expected.path("greedy").path("sequences")) {
      prompts.add(spelled(sequence, 0, 12));
      continuations.add(spelled(sequence, 12, 20));
    }
    try (GPT2LMHeadModel model = GPT2LMHeadModel.fromPretrained(directory)) {
      assertThat(prompts).hasSize(3);
      for (int i = 0; i < prompts.size(); i++) {
        assertThat(model.generate(prompts.get(i), GenerationOptions.greedy(8)))
            .isEqualTo(continuations.get(i));
      }
      assertThat(model.generate(prompts, GenerationOptions.greedy(8))).isEqualTo(continuations);
      List<String> pieces = new ArrayList<>();
      String text = model.generate(prompts.get(0), GenerationOptions.greedy(8), pieces::add);
      assertThat(pieces).hasSize(8);
      assertThat(String.join("", pieces)).isEqualTo(text).isEqualTo(continuations.get(0));
    }
  }

  /**
   * Every token of the corpus but the first is predicted once, the short last window included.
   * Oracle: −log softmax of the logits, summed in double. Tolerance: fp32 rounding of a loss.
   */
  @Test
  void evaluate_equalsASumByHandOverTheWholeCorpus() {
    Path text = Fixtures.text(folder, 23);
    int context = 20;
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Fixtures.gpt2(), tokenizer, Fixtures.small())) {
      Corpus corpus = Corpus.of(text);
      Map<String, Double> metrics =
          model.evaluate(
              corpus, CorpusOptions.defaults().withContextLength(context).withEvalBatchSize(3));
      int[] ids = tokenizer.ids(read(text));
      double sum = 0;
      for (int start = 0; start < ids.length - 1; start += context) {
        int end = Math.min(start + context, ids.length - 1);
        Batch batch = new Batch(context, 1, context).begin();
        batch.beginSequence(Batch.IGNORED);
        for (int i = start; i < end; i++) {
          batch.addToken(ids[i], i - start, 0, Batch.IGNORED);
        }
        batch.finish();
        try (EvalStep step = new EvalStep(model.network(), Limits.of(batch))) {
          float[][] logits =
              step.vocabularyLogits(batch, IntStream.range(0, end - start).toArray());
          for (int i = start; i < end; i++) {
            sum += minusLogProbability(logits[i - start], ids[i + 1]);
          }
        }
      }
      assertThat(ids.length % context).isNotEqualTo(1);
      assertThat(metrics.get("tokens")).isEqualTo(ids.length - 1.0);
      assertThat(metrics.get("loss")).isCloseTo(sum / (ids.length - 1), within(1e-5));
      assertThat(metrics.get("perplexity")).isEqualTo(Math.exp(metrics.get("loss")));
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static double minusLogProbability(float[] logits, int id) {
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp(logit);
    }
    return Math.log(sum) - logits[id];
  }

  /** Lines of few words: a network that learned them is far below the uniform loss. */
  @Test
  void fit_learnsACorpusAndWritesLikeIt() {
    Path text = Fixtures.text(folder, 200);
    String written;
    Path saved = folder.resolve("saved");
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(
                Fixtures.gpt2().withDropout(0, 0, 0), tokenizer, Fixtures.small())) {
      Corpus corpus = Corpus.of(text);
      double before = model.evaluate(corpus).get("loss");
      assertThat(before).isCloseTo(Math.log(tokenizer.vocabSize()), within(0.3));
      FitResult result =
          model.fit(
              corpus,
              null,
              CorpusOptions.defaults().withValidationShare(0.1),
              Fixtures.options(150).build());
      assertThat(result.validation().get("loss")).isLessThan(0.4 * before);
      // The last tenth, judged whole.
      long tokens = tokenizer.ids(read(text)).length;
      assertThat(result.validation().get("tokens")).isEqualTo(tokens - (long) (0.9 * tokens) - 1.0);
      assertThat(result.labels()).isEmpty();
      written = model.generate("the ", GenerationOptions.greedy(12));
      assertThat(written).containsAnyOf("film", "book", "play", "song", "meal", "hotel");
      model.savePretrained(saved);
    }
    try (GPT2LMHeadModel model = GPT2LMHeadModel.fromPretrained(saved, Fixtures.small())) {
      assertThat(model.generate("the ", GenerationOptions.greedy(12))).isEqualTo(written);
      assertThat(PreTrainedModel.taskOf(saved)).isEqualTo(dev.graft.model.Task.CAUSAL_LM);
    }
  }

  /** Oracle: one thread. Tolerance: none, for each uses one CPU thread and its own draws. */
  @Test
  void generatorsInThreads_writeAsOneDoes() throws Exception {
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Fixtures.gpt2(), tokenizer, Fixtures.small())) {
      GenerationOptions options = new GenerationOptions(40, 0.8, 5, 1, 1, 7, List.of());
      String want = model.generate("the film", options);
      ExecutorService pool = Executors.newFixedThreadPool(4);
      try {
        List<Future<String>> texts = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
          texts.add(
              pool.submit(
                  () -> {
                    try (Generator mine = model.generator(1)) {
                      mine.generate("a book", options);
                      return mine.generate("the film", options);
                    }
                  }));
        }
        for (Future<String> text : texts) {
          assertThat(text.get()).hasSize(40).isEqualTo(want);
        }
      } finally {
        pool.shutdown();
      }
    }
  }

  @Test
  void textsInMemory_areDocuments() {
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Fixtures.gpt2(), tokenizer, Fixtures.small())) {
      Path file = Fixtures.write(folder.resolve("blocks.txt"), "the film\n\nthe book\nwas dull\n");
      Map<String, Double> blocks =
          model.evaluate(Corpus.of(file).documents(dev.graft.data.DocumentMode.BLANK_LINE));
      assertThat(model.evaluate(Corpus.ofTexts(List.of("the film", "the book\nwas dull"))))
          .isEqualTo(blocks);
    }
  }

  @Test
  void badInput_isOneLine() {
    Path text = Fixtures.text(folder, 3);
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Fixtures.gpt2(), tokenizer, Fixtures.small())) {
      assertThatThrownBy(() -> Corpus.of(folder.resolve("none.txt")))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("none.txt: no such file");
      assertThatThrownBy(
              () -> model.evaluate(Corpus.of(Fixtures.write(folder.resolve("empty.txt"), ""))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("empty.txt: there is no token");
      assertThatThrownBy(
              () -> model.evaluate(Corpus.of(text), CorpusOptions.defaults().withContextLength(33)))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("33 tokens is longer than the model's 32 positions");
      Path saved = folder.resolve("saved");
      model.savePretrained(saved);
      writeTokenizer(saved, 500);
      assertThatThrownBy(() -> GPT2LMHeadModel.fromPretrained(saved, Fixtures.small()))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("the tokenizer has 500 tokens")
          .hasMessageContaining("do not belong together");
      for (Consumer<Path> load :
          List.<Consumer<Path>>of(
              BertForMaskedLM::fromPretrained,
              BertForSequenceClassification::fromPretrained,
              BertModel::fromPretrained)) {
        assertThatThrownBy(() -> load.accept(saved))
            .isInstanceOf(InvalidInputException.class)
            .hasMessageContaining(
                "config.json: model_type: expected bert or roberta or distilbert, this is a gpt2 model");
      }
      Fixtures.write(saved.resolve("config.json"), "{");
      assertThatThrownBy(() -> GPT2LMHeadModel.fromPretrained(saved))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("config.json: at byte");
    }
  }
}
