package dev.graft.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.io.Safetensors;
import dev.graft.model.Parameters.Parameter;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Adapters that PEFT made, with its numbers in double, as {@code bench/peers/make_lora_fixtures.py}
 * recorded them. Rule: no further from them than twice PEFT's own fp32 error and two units in the
 * last place of the tensor's largest number.
 */
class LoraTest {
  private static final Path CASES = Path.of("src/test/resources/lora");
  private static final String EXACT = "double.";
  private static Device device;
  @TempDir Path temp;

  @BeforeAll
  static void open() {
    device = Device.cpu();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bert-query-value",
        "bert-all-linear",
        "bert-masked-lm",
        "roberta",
        "distilbert",
        "gpt2"
      })
  void adapterOfPeft_logitsLossAndGradients_within2xItsError(String name) throws IOException {
    Path directory = CASES.resolve(name);
    Path inputs = directory.resolve("reference.safetensors");
    Path out = temp.resolve("out.safetensors");
    try (Trace trace = new Trace(device, directory, inputs, DType.FLOAT32)) {
      trace.run(out, true);
    }
    int gradients = compare(name, out, true);
    assertThat(gradients).isGreaterThanOrEqualTo(4);

    // Merged into the weights it gives the same answers.
    Path merged = Files.createDirectory(temp.resolve("merged"));
    ModelDirectory adapter = new ModelDirectory(directory);
    try (Network network =
        Network.load(device, directory, Network.taskOf(adapter), DType.FLOAT32)) {
      network.save(merged);
    }
    try (Trace trace = new Trace(device, merged, inputs, DType.FLOAT32)) {
      trace.run(out, false);
    }
    compare(name, out, false);
  }

  /** The number of gradients compared. */
  private static int compare(String name, Path out, boolean gradients) {
    Path directory = CASES.resolve(name);
    JsonNode errors = Json.readObject(directory.resolve("reference.json")).get("errors");
    List<String> misses = new ArrayList<>();
    int compared = 0;
    try (Safetensors want = Safetensors.open(directory.resolve("reference.safetensors"));
        Safetensors got = Safetensors.open(out)) {
      for (String key : want.names()) {
        boolean gradient = key.startsWith(EXACT + "grad.");
        if (!key.startsWith(EXACT) || gradient && !gradients) {
          continue;
        }
        compared += gradient ? 1 : 0;
        String tensor = key.substring(EXACT.length());
        ByteBuffer raw = want.buffer(key);
        double[] exact = new double[raw.remaining() / 8];
        raw.asDoubleBuffer().get(exact);
        float[] values = got.floats(tensor);
        assertThat(values).as(tensor).hasSize(exact.length);
        double largest = 0;
        double distance = 0;
        for (int i = 0; i < exact.length; i++) {
          largest = Math.max(largest, Math.abs(exact[i]));
          distance = Math.max(distance, Math.abs(values[i] - exact[i]));
        }
        double bound = 2 * errors.get(tensor).asDouble() + 2 * Math.ulp((float) largest);
        if (!(distance <= bound)) {
          misses.add(String.format("%s: %.3g, bound %.3g", tensor, distance, bound));
        }
      }
      if (gradients) {
        long own = got.names().stream().filter(key -> key.startsWith("grad.")).count();
        assertThat(own).as("gradients").isEqualTo(compared);
      }
    }
    assertThat(misses).isEmpty();
    return compared;
  }

  /** What is written is what PEFT wrote: keys, every bit, and every setting it has. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "bert-query-value",
        "bert-all-linear",
        "bert-masked-lm",
        "roberta",
        "distilbert",
        "gpt2"
      })
  void savedAdapter_isPeftsFile(String name) {
    Path directory = CASES.resolve(name);
    Task task = Network.taskOf(new ModelDirectory(directory));
    try (Network network = Network.load(device, directory, task, DType.FLOAT32)) {
      network.saveAdapter(temp, "the/base");
    }
    try (Safetensors theirs = Safetensors.open(directory.resolve("adapter_model.safetensors"));
        Safetensors ours = Safetensors.open(temp.resolve("adapter_model.safetensors"))) {
      assertThat(ours.names()).isEqualTo(theirs.names());
      for (String key : ours.names()) {
        assertThat(ours.info(key).shape()).as(key).isEqualTo(theirs.info(key).shape());
        assertThat(ours.floats(key)).as(key).isEqualTo(theirs.floats(key));
      }
    }
    ObjectNode theirs = Json.readObject(directory.resolve("adapter_config.json"));
    ObjectNode ours = Json.readObject(temp.resolve("adapter_config.json"));
    assertThat(ours.remove("base_model_name_or_path").asText()).isEqualTo("the/base");
    assertThat(texts(ours.remove("target_modules")))
        .isEqualTo(texts(theirs.remove("target_modules")));
    TreeSet<String> modules = texts(theirs.remove("modules_to_save"));
    modules.remove("score");
    assertThat(texts(ours.remove("modules_to_save"))).isEqualTo(modules);
    ours.fields()
        .forEachRemaining(
            field ->
                assertThat(field.getValue().asText())
                    .as(field.getKey())
                    .isEqualTo(theirs.path(field.getKey()).asText()));
  }

  private static TreeSet<String> texts(JsonNode array) {
    TreeSet<String> texts = new TreeSet<>();
    array.forEach(item -> texts.add(item.asText()));
    return texts;
  }

  @Test
  void attached_changesNoAnswer_andTrainsFewParameters() {
    try (Network network =
        Network.create(
            device,
            BertConfig.of(50, 16, 32, 2, 2, 64).withLabels(List.of("a", "b")),
            Task.SEQUENCE_CLASSIFICATION,
            DType.FLOAT32,
            1)) {
      long all = network.parameters().count();
      network.attach(Lora.rank(4), 7);
      assertThat(network.parameters().count()).isEqualTo(all);
      assertThat(network.lora().targets()).containsExactly("query", "value");
      assertThat(network.lora().modulesToSave()).containsExactly("pooler", "classifier");
      List<Parameter> adapters = network.parameters().ofAdapters();
      assertThat(adapters).hasSize(2 * 2 * 2);
      for (Parameter p : adapters) {
        boolean a = p.name().endsWith("lora_A.weight");
        float bound = (float) (1 / Math.sqrt(32));
        for (float value : p.weight().floats()) {
          assertThat(Math.abs(value)).isLessThanOrEqualTo(a ? bound : 0);
        }
      }
      assertThat(network.adapterTensors()).hasSize(8 + 4);
      assertThatThrownBy(() -> network.attach(Lora.rank(5), 7))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("another adapter");
      network.mergeAdapter();
      assertThat(network.lora()).isNull();
      assertThat(network.parameters().ofAdapters()).isEmpty();
    }
  }

  @Test
  void wrongNames_areRefusedWithThoseThereAre() {
    try (Network network =
        Network.create(device, Gpt2Config.of(50, 16, 32, 2, 2), Task.CAUSAL_LM, DType.FLOAT32, 1)) {
      assertThatThrownBy(() -> network.attach(Lora.rank(4).targets("query"), 1))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("no linear layer is called query")
          .hasMessageContaining("[c_attn, c_fc, c_proj]");
      assertThatThrownBy(() -> network.attach(Lora.rank(4).modulesToSave("head"), 1))
          .hasMessageContaining("nothing of this network is called head");
      network.attach(Lora.rank(4).targets(Lora.ALL_LINEAR), 1);
      assertThat(network.parameters().ofAdapters()).hasSize(2 * 4 * 2);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"use_dora\": false | \"use_dora\": true | use_dora: expected nothing, got true",
        "\"bias\": \"none\" | \"bias\": \"all\" | bias: expected none",
        "\"peft_type\": \"LORA\" | \"peft_type\": \"IA3\" | peft_type: expected LORA",
        "\"r\": 3 | \"r\": 4 | expected shape [4, 20], got [3, 20]",
        "\"r\": 3 | \"r\": 0 | rank: expected 1 to 65,536",
        "\"rank_pattern\": {} | \"rank_pattern\": {\"query\": 1} | rank_pattern: expected nothing",
        "bert-classification | nowhere | the model this adapter belongs to is not there",
        "bert-classification | gpt2-lm | does not fit a gpt2 model",
        "bert-classification | distilbert-classification | expected shape [3, 20]",
      })
  void brokenAdapters_areRefusedByName(String from, String to, String expected) throws IOException {
    Path whole = CASES.resolve("bert-query-value");
    String config = Files.readString(whole.resolve("adapter_config.json"));
    assertThat(config).contains(from);
    String peers = CASES.resolveSibling("peers").toAbsolutePath().toString();
    AtomicFiles.write(
        temp.resolve("adapter_config.json"),
        config.replace(from, to).replace("../../peers", peers));
    Files.copy(
        whole.resolve("adapter_model.safetensors"), temp.resolve("adapter_model.safetensors"));
    assertThatThrownBy(
            () -> Network.load(device, temp, Task.SEQUENCE_CLASSIFICATION, DType.FLOAT32).close())
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining(expected);
  }
}
