package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.BpeTrainer;
import dev.graft.text.CharTrainer;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import dev.graft.train.LossEvaluator;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Prompts with completions: what is read, what is learnt, what is cut. */
class PromptSourceTest {
  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void open() {
    Path corpus =
        TextFixtures.write(folder.resolve("corpus.txt"), String.join("\n", TextFixtures.texts()));
    tokenizer = BpeTrainer.train(List.of(corpus), 400, 1);
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  /** Oracle: transformers with labels −100, by bench/peers/make_generation_fixtures.py. */
  @Test
  void lossOfCompletionsAlone_equalsTheReference() throws Exception {
    JsonNode expected;
    try (InputStream in = getClass().getResourceAsStream("/apply/generation.json")) {
      expected = new ObjectMapper().readTree(in).path("masked");
    }
    List<PromptSource.Sequence> sequences = new ArrayList<>();
    List<Double> losses = new ArrayList<>();
    for (JsonNode one : expected.path("examples")) {
      int[] ids = new int[one.path("ids").size()];
      Arrays.setAll(ids, i -> one.path("ids").path(i).asInt());
      sequences.add(new PromptSource.Sequence(ids, one.path("prompt").asInt()));
      losses.add(one.path("loss").asDouble());
    }
    Path model =
        Path.of(getClass().getResource("/models/hf-tiny-random-gpt2/config.json").toURI())
            .getParent();
    try (Device device = Device.cpu(1);
        Network network = Network.load(device, model, Task.CAUSAL_LM, DType.FLOAT32, null, 0)) {
      for (int i = 0; i < losses.size(); i++) {
        assertThat(loss(network, sequences.subList(i, i + 1)))
            .isCloseTo(losses.get(i), within(2e-6));
      }
      assertThat(loss(network, sequences))
          .isCloseTo(expected.path("loss").asDouble(), within(2e-6));
    }
  }

  private static double loss(Network network, List<PromptSource.Sequence> sequences) {
    try (LossEvaluator evaluator = new LossEvaluator(new PromptSource(sequences, 2, false, 0, 0))) {
      return evaluator.evaluate(network).get("loss");
    }
  }

  private PromptSource source(PromptTemplate template, int maxLength, PromptExample... examples) {
    return PromptSource.of(List.of(examples), template, tokenizer, maxLength, 1, false, 0);
  }

  /** What a batch of one sequence learns, as text. */
  private String learnt(PromptSource source) {
    Batch batch = source.newBatch();
    source.fill(0, batch);
    int[] labels =
        Arrays.stream(batch.labels, 0, batch.liveTokens).filter(l -> l != Batch.IGNORED).toArray();
    assertThat(Arrays.stream(batch.labels, 0, batch.liveTokens).dropWhile(l -> l == -100))
        .as("labels are the end of the sequence")
        .doesNotContain(Batch.IGNORED);
    return tokenizer.decode(labels, false);
  }

  private String read(PromptSource source) {
    Batch batch = source.newBatch();
    source.fill(0, batch);
    return tokenizer.decode(Arrays.copyOf(batch.inputIds, batch.liveTokens), false);
  }

  @Test
  void completionsAreLearntWithTheEnd() {
    String end = tokenizer.decode(new int[] {tokenizer.eosId()}, false);
    PromptSource plain = source(PromptTemplate.PLAIN, 50, new PromptExample("To be ", "or not"));
    assertThat(learnt(plain)).isEqualTo("or not" + end);
    assertThat(read(plain)).isEqualTo("To be or not");
    PromptSource summary =
        source(PromptTemplate.SUMMARIZE, 50, new PromptExample(" a long story ", "short "));
    assertThat(read(summary)).isEqualTo("a long story\nTL;DR: short");
    assertThat(learnt(summary)).isEqualTo(" short" + end);
    PromptSource instruct =
        source(PromptTemplate.INSTRUCT, 200, new PromptExample("say", "hello", "hi", 3));
    assertThat(read(instruct))
        .isEqualTo("### Instruction:\nsay\n\n### Input:\nhello\n\n### Response:\nhi");
    assertThat(learnt(instruct)).isEqualTo("hi" + end);
  }

  @Test
  void longPromptsLoseTheEndOfTheirText() {
    String document = "to be or not to be that is the question ".repeat(20);
    PromptSource source =
        source(PromptTemplate.SUMMARIZE, 40, new PromptExample(document, "that is it"));
    assertThat(source.truncated()).isEqualTo(1);
    assertThat(read(source)).startsWith("to be or not").endsWith("\nTL;DR: that is it");
    Batch batch = source.newBatch();
    source.fill(0, batch);
    assertThat(batch.liveTokens).isEqualTo(40);
    // A completion that leaves no room is cut to half, and is not taught to end there.
    PromptSource both = source(PromptTemplate.SUMMARIZE, 60, new PromptExample(document, document));
    assertThat(learnt(both)).startsWith(" to be or not").doesNotContain("endoftext");
    both.fill(0, batch = both.newBatch());
    assertThat(batch.liveTokens).isEqualTo(60);
    assertThat(batch.labelCount()).isEqualTo(30);
    assertThatThrownBy(
            () -> source(PromptTemplate.INSTRUCT, 10, new PromptExample("a b c d e", "f")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("a prompt's fixed part has");
  }

  @Test
  void everyExampleOncePerEpochInAnotherOrder() {
    PromptExample[] examples = new PromptExample[10];
    Arrays.setAll(examples, i -> new PromptExample("a" + i, "b"));
    PromptSource source =
        PromptSource.of(List.of(examples), PromptTemplate.PLAIN, tokenizer, 30, 2, true, 5);
    Batch batch = source.newBatch();
    List<List<String>> epochs = new ArrayList<>();
    for (int epoch = 0; epoch < 2; epoch++) {
      List<String> seen = new ArrayList<>();
      for (int i = 0; i < 5; i++) {
        source.fill(5 * epoch + i, batch);
        assertThat(batch.liveSequences).isEqualTo(2);
        for (int s = 0; s < 2; s++) {
          int[] ids =
              Arrays.copyOfRange(batch.inputIds, batch.cuSeqlens[s], batch.cuSeqlens[s + 1]);
          seen.add(tokenizer.decode(ids, false));
        }
      }
      epochs.add(seen);
      Set<String> all = new HashSet<>();
      for (int i = 0; i < 10; i++) {
        all.add("a" + i + "b");
      }
      assertThat(new HashSet<>(seen)).isEqualTo(all);
    }
    assertThat(epochs.get(0)).isNotEqualTo(epochs.get(1));
    assertThat(source.fingerprint())
        .isNotEqualTo(
            PromptSource.of(List.of(examples), PromptTemplate.SUMMARIZE, tokenizer, 30, 2, true, 5)
                .fingerprint());
  }

  @Test
  void recordsOfAllKinds() throws Exception {
    Path file = folder.resolve("set.jsonl");
    Files.writeString(
        file,
        "{\"prompt\": \"p\", \"completion\": \"c\", \"other\": [1]}\n\n"
            + "{\"instruction\": \"i\", \"input\": \" \", \"output\": \"o\"}\n"
            + "{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\"}\n"
            + "{\"document\": \"d\", \"summary\": \"s\"}\n");
    assertThat(PromptData.read(file))
        .containsExactly(
            new PromptExample("p", null, "c", 1),
            new PromptExample("i", null, "o", 3),
            new PromptExample("i", "x", "o", 4),
            new PromptExample("d", null, "s", 5));
    assertThat(PromptData.templateOf(file)).isEqualTo(PromptTemplate.PLAIN);
    for (String[] wrong :
        new String[][] {
          {"{\"prompt\": \"p\"}", "line 1: there is no text to learn"},
          {"{\"prompt\": \"p\", \"completion\": \" \"}", "line 1: there is no text to learn"},
          {"{\"prompt\": 1, \"completion\": \"c\"}", "line 1: field 'prompt' is not a text"},
          {"{\"text\": \"p\"}", "line 1: expected a field of [prompt, instruction, document]"},
          {"[]", "line 1: expected a JSON object"},
          {"", "there are no examples in it"}
        }) {
      Files.writeString(file, wrong[0]);
      assertThatThrownBy(() -> PromptData.read(file))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(file + ": " + wrong[1]);
    }
    assertThatThrownBy(() -> PromptData.read(folder.resolve("set.txt")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("prompts come as a .jsonl, .csv, .tsv or .parquet file");
  }

  /**
   * What JSON Lines say, as tables say it; Parquet's reader is in another module, and tested there.
   */
  @Test
  void tablesOfAllKinds() throws Exception {
    Path csv = folder.resolve("set.csv");
    Files.writeString(
        csv, "output,Instruction,id,input\no,\"i, two\nlines\",1,\n\"o \"\"2\"\"\",i,2,x\n");
    assertThat(PromptData.read(csv))
        .containsExactly(
            new PromptExample("i, two\nlines", null, "o", 3),
            new PromptExample("i", "x", "o \"2\"", 4));
    assertThat(PromptData.templateOf(csv)).isEqualTo(PromptTemplate.INSTRUCT);
    Path tsv = folder.resolve("set.tsv");
    Files.writeString(tsv, "prompt\tcompletion\np\t \"c\n");
    assertThat(PromptData.read(tsv)).containsExactly(new PromptExample("p", null, " \"c", 2));
    assertThat(PromptData.templateOf(tsv)).isEqualTo(PromptTemplate.PLAIN);
    Files.writeString(tsv, "document\nd\n");
    assertThat(PromptData.readPrompts(tsv)).containsExactly(new PromptExample("d", null, null, 2));
    for (String[] wrong :
        new String[][] {
          {"document\nd", "line 2: there is no text to learn"},
          {"document,summary\nd, ", "line 2: there is no text to learn"},
          {"document,summary\n ,s", "line 2: column 'document' is empty"},
          {"document,summary\nd", "line 2: expected 2 fields, got 1"},
          {
            "text,summary\nd,s",
            "no column is named [prompt, instruction, document]; there are [text"
          },
          {"prompt,prompt\nd,s", "two columns are named 'prompt'"},
          {"document,summary\n", "there are no examples in it"},
          {"", "there are no examples in it"}
        }) {
      Files.writeString(csv, wrong[0]);
      assertThatThrownBy(() -> PromptData.read(csv))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(csv + ": " + wrong[1]);
    }
  }

  @Test
  void templatesAreKept() throws Exception {
    assertThat(PromptTemplate.of(folder)).isNull();
    for (PromptTemplate template :
        List.of(PromptTemplate.PLAIN, PromptTemplate.INSTRUCT, PromptTemplate.SUMMARIZE)) {
      template.save(folder);
      assertThat(PromptTemplate.of(folder)).isEqualTo(template);
    }
    Files.writeString(folder.resolve("prompt_template.json"), "{\"prompt\": \"no place\"}");
    assertThatThrownBy(() -> PromptTemplate.of(folder))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("expected {text}, then {input}");
    assertThatThrownBy(
            () ->
                PromptTemplate.SUMMARIZE.encode(
                    tokenizer, new PromptExample("a", "b", null, 0), 100))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("no input");
    try (Tokenizer endless = CharTrainer.train(List.of(folder.resolve("corpus.txt")), 0)) {
      assertThatThrownBy(
              () ->
                  PromptSource.of(
                      List.of(new PromptExample("a", "b")),
                      PromptTemplate.PLAIN,
                      endless,
                      10,
                      1,
                      true,
                      0))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("no end token");
    }
  }
}
