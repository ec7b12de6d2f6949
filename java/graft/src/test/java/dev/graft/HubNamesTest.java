package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.apply.GenerationOptions;
import dev.graft.data.Columns;
import dev.graft.data.LabelledExample;
import dev.graft.io.HubServer;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Lora;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import dev.graft.train.CancellationToken;
import dev.graft.train.TrainingListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A hub's name wherever a directory may stand. */
class HubNamesTest {
  private static final String BERT = "org/bert";
  private static final String GPT = "gpt-tiny";

  @TempDir Path folder;
  private final HubServer server = new HubServer();
  private final Map<String, String> before = new HashMap<>();
  private Path bert;

  @BeforeEach
  void serve() throws IOException {
    set("HF_ENDPOINT", server.endpoint().toString());
    set("HF_HUB_CACHE", folder.resolve("cache").toString());
    set("HF_HUB_OFFLINE", "0");
    bert = folder.resolve("made/bert");
    Path gpt = folder.resolve("made/gpt");
    try (BertTokenizer tokenizer = Fixtures.bertTokenizer(folder);
        BertForPreTraining model =
            BertForPreTraining.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      model.savePretrained(bert);
    }
    try (Tokenizer tokenizer = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel model =
            GPT2LMHeadModel.create(Fixtures.gpt2(), tokenizer, Fixtures.small())) {
      model.savePretrained(gpt);
    }
    server.serve(BERT, files(bert));
    server.serve(GPT, files(gpt));
  }

  @AfterEach
  void close() {
    server.close();
    before.forEach(
        (name, value) -> {
          if (value == null) {
            System.clearProperty(name);
          } else {
            System.setProperty(name, value);
          }
        });
  }

  private void set(String name, String value) {
    before.put(name, System.setProperty(name, value));
  }

  private static Map<String, byte[]> files(Path directory) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> entries = Files.list(directory)) {
      for (Path file : entries.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    return files;
  }

  /** Oracle: the same model from its directory. */
  @Test
  void everyFace_takesAName() {
    float[] embedding;
    try (BertModel local = BertModel.fromPretrained(bert)) {
      embedding = local.embed("a lovely film");
    }
    try (BertModel model = BertModel.fromPretrained(BERT);
        BertForMaskedLM masked = BertForMaskedLM.fromPretrained(BERT);
        BertForPreTraining both = BertForPreTraining.fromPretrained(BERT + "@main");
        BertForSequenceClassification classifier =
            BertForSequenceClassification.fromPretrained(BERT);
        GPT2LMHeadModel gpt = GPT2LMHeadModel.fromPretrained(GPT)) {
      assertThat(model.embed("a lovely film")).isEqualTo(embedding);
      assertThat(masked.fillMask("a [MASK] film", 3)).isEqualTo(both.fillMask("a [MASK] film", 3));
      classifier.fit(Fixtures.reviews(8, 1), null, Fixtures.options(1).build());
      assertThat(gpt.generate("a ", GenerationOptions.defaults())).isNotNull();
    }
    assertThat(PreTrainedModel.taskOf(Path.of(BERT))).isEqualTo(Task.PRETRAINING);
    assertThat(server.count("GET /api/")).as("one request a name and revision").isLessThan(4);
  }

  @Test
  void tokenizers_takeAName_andFetchNoWeights() {
    try (BertTokenizer local = BertTokenizer.fromPretrained(bert);
        BertTokenizer tokenizer = BertTokenizer.fromPretrained(BERT);
        Tokenizer any = Tokenizer.fromPretrained(Path.of(GPT))) {
      assertThat(tokenizer.encode("a lovely film")).isEqualTo(local.encode("a lovely film"));
      assertThat(any.family()).isEqualTo("char");
    }
    assertThat(server.count("cdn")).isZero();
    assertThatThrownBy(() -> GPT2Tokenizer.fromPretrained(BERT))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("expected GPT-2's");
  }

  @Test
  void directory_winsOverAName() throws IOException {
    // Only its path tells that "src/test" is no name, so a name that is a directory here will do.
    assertThat(Path.of("src/test")).isDirectory();
    assertThatThrownBy(() -> BertModel.fromPretrained("src/test"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("src/test/config.json: no such file");
    assertThat(server.requests).isEmpty();
  }

  @Test
  void unknownName_saysWhatToDo() {
    assertThatThrownBy(() -> BertForSequenceClassification.fromPretrained("bert-base-uncasd"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith("bert-base-uncasd: no such directory, and http://127.0.0.1:")
        .hasMessageContaining("check the spelling")
        .message()
        .hasLineCount(1);
  }

  /** Oracle: the model in memory. Tolerance: none. */
  @Test
  void adapter_namesTheModelOfTheHub_andItsCommit() throws IOException {
    Path adapter = folder.resolve("adapter");
    double want;
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromEncoder(
            Path.of(BERT), List.of("no", "yes"), Fixtures.small())) {
      model.fit(
          Dataset.of(
              List.of(new LabelledExample("a film", "no"), new LabelledExample("a book", "yes"))),
          null,
          Fixtures.options(2).lora(Lora.rank(2)).build());
      model.saveAdapter(adapter);
      want = model.predict("a film").probability();
    }
    ObjectNode json = Json.readObject(adapter.resolve("adapter_config.json"));
    assertThat(json.get("base_model_name_or_path").asText()).isEqualTo(BERT);
    assertThat(json.get("revision").asText()).matches("[0-9a-f]{40}");
    server.close();
    try (BertForSequenceClassification model =
        BertForSequenceClassification.fromPretrained(adapter, Fixtures.small())) {
      assertThat(model.predict("a film").probability()).isEqualTo(want);
    }
  }

  /** A run keeps to the commit it began with, whatever becomes of the branch. */
  @Test
  void fineTuning_writesDownTheCommit_andGoesOnWithoutTheHub() throws IOException {
    Path train =
        Fixtures.write(
            folder.resolve("train.csv"), "text,label\na film,x\na book,y\na play,x\na song,y\n");
    Path run = folder.resolve("run");
    FineTuning tuning =
        new FineTuning(
            Path.of(BERT),
            false,
            train,
            null,
            Columns.detect(),
            0,
            Fixtures.options(2).runDirectory(run).build(),
            1);
    tuning.run();
    String model = Json.readObject(run.resolve("settings.json")).get("model").asText();
    String commit = server.serve(BERT, files(bert)).commit();
    assertThat(model).startsWith(folder.resolve("cache/models--org--bert/snapshots/").toString());
    assertThat(Path.of(model)).isDirectory();
    assertThat(commit).isNotNull();
    server.close();
    FineTuning.resume(run, TrainingListener.NONE, new CancellationToken());
  }
}
