package dev.graft.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * One model in every layout checkpoints come in. Oracle: the weights of the fixture, bit for bit.
 */
class CheckpointLayoutsTest {
  private static final Path PEERS = Path.of("src/test/resources/peers");
  private static final Path CHECKPOINTS = Path.of("src/test/resources/checkpoints");
  private static Device device;
  @TempDir Path directory;

  @BeforeAll
  static void open() {
    device = Device.cpu();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  private static Task task(Path model) {
    return Network.taskOf(ModelDirectory.resolve(model));
  }

  private static Map<String, float[]> weights(Path model) {
    Map<String, float[]> weights = new LinkedHashMap<>();
    try (Network network = Network.load(device, model, task(model), DType.FLOAT32)) {
      for (Parameters.Parameter p : network.parameters().all()) {
        for (Parameters.Part part : p.parts()) {
          weights.put(part.name(), p.weight().floats(part.offset(), (int) part.count()));
        }
      }
    }
    return weights;
  }

  private static void same(Map<String, float[]> got, Map<String, float[]> want) {
    assertThat(got.keySet()).isEqualTo(want.keySet());
    want.forEach((name, values) -> assertThat(got.get(name)).as(name).isEqualTo(values));
  }

  /** A copy of a fixture whose tensors have other names; null leaves one out. */
  private Path renamed(String fixture, UnaryOperator<String> names, SafetensorsWriter with)
      throws IOException {
    Path copy = Files.createDirectories(directory.resolve("copy"));
    Files.writeString(
        copy.resolve("config.json"), Files.readString(PEERS.resolve(fixture + "/config.json")));
    try (Safetensors in = Safetensors.open(PEERS.resolve(fixture + "/model.safetensors"))) {
      for (String name : in.names()) {
        String other = names.apply(name);
        if (other != null) {
          with.floats(other, in.floats(name), in.shape(name));
        }
      }
    }
    with.write(copy.resolve("model.safetensors"));
    return copy;
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-zip", "bert-legacy", "bert-shards"})
  void pytorchFiles(String name) {
    same(weights(CHECKPOINTS.resolve(name)), weights(PEERS.resolve("bert-masked-lm")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bert-masked-lm",
        "bert-pretraining",
        "bert-classification",
        "bert-base",
        "bert-base-without-pooler",
        "roberta-masked-lm",
        "roberta-classification",
        "distilbert-masked-lm",
        "distilbert-classification",
        "gpt2-lm",
        "gpt2-lm-untied"
      })
  void namesWithAndWithoutPrefixes(String fixture) throws IOException {
    Map<String, float[]> want = weights(PEERS.resolve(fixture));
    String prefix = "^(bert|roberta|distilbert|transformer)\\.";
    boolean base = fixture.startsWith("bert-base"); // stored without a prefix
    UnaryOperator<String> turned =
        base ? name -> "bert." + name : name -> name.replaceFirst(prefix, "");
    same(weights(renamed(fixture, turned, new SafetensorsWriter())), want);
    same(weights(renamed(fixture, name -> "module." + name, new SafetensorsWriter())), want);
    UnaryOperator<String> old =
        name ->
            name.replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
    same(weights(renamed(fixture, old, new SafetensorsWriter())), want);
    same(
        weights(renamed(fixture, name -> "module." + old.apply(turned.apply(name)), writer())),
        want);
  }

  private static SafetensorsWriter writer() {
    return new SafetensorsWriter();
  }

  @ParameterizedTest
  @CsvSource({
    "bert-masked-lm, bert.embeddings.word_embeddings.weight, cls.predictions.decoder.weight",
    "bert-masked-lm, cls.predictions.bias, cls.predictions.decoder.bias",
    "roberta-masked-lm, roberta.embeddings.word_embeddings.weight, lm_head.decoder.weight",
    "roberta-masked-lm, lm_head.bias, lm_head.decoder.bias",
    "distilbert-masked-lm, distilbert.embeddings.word_embeddings.weight, vocab_projector.weight",
    "gpt2-lm, transformer.wte.weight, lm_head.weight"
  })
  void tiedTensors_underEitherNameOrBoth(String fixture, String one, String other)
      throws IOException {
    Map<String, float[]> want = weights(PEERS.resolve(fixture));
    UnaryOperator<String> instead = name -> name.equals(one) ? other : name;
    same(weights(renamed(fixture, instead, writer())), want);
    try (Safetensors in = Safetensors.open(PEERS.resolve(fixture + "/model.safetensors"))) {
      SafetensorsWriter both = writer().floats(other, in.floats(one), in.shape(one));
      same(weights(renamed(fixture, name -> name, both)), want);
    }
  }

  /** As the reference implementation: what is stored apart and differs is not tied. */
  @ParameterizedTest
  @CsvSource({
    "bert-masked-lm, bert.embeddings.word_embeddings.weight, cls.predictions.decoder.weight",
    "roberta-masked-lm, roberta.embeddings.word_embeddings.weight, lm_head.decoder.weight",
    "distilbert-masked-lm, distilbert.embeddings.word_embeddings.weight, vocab_projector.weight",
    "gpt2-lm, transformer.wte.weight, lm_head.weight"
  })
  void projectionsThatDiffer_areNotTied(String fixture, String one, String other)
      throws IOException {
    Path copy;
    try (Safetensors in = Safetensors.open(PEERS.resolve(fixture + "/model.safetensors"))) {
      float[] apart = in.floats(one);
      apart[apart.length - 1] += 1;
      copy = renamed(fixture, name -> name, writer().floats(other, apart, in.shape(one)));
      Map<String, float[]> got = weights(copy);
      assertThat(got.get(other)).isEqualTo(apart);
      assertThat(got.get(one)).isEqualTo(in.floats(one));
    }
    Path saved = directory.resolve("saved");
    try (Network network = Network.load(device, copy, task(copy), DType.FLOAT32)) {
      network.save(saved);
    }
    assertThat(Json.readObject(saved.resolve("config.json")).get("tie_word_embeddings").asBoolean())
        .isFalse();
    same(weights(saved), weights(copy));
  }

  @Test
  void buffersAreNoTensorsOfTheModel() throws IOException {
    SafetensorsWriter with =
        writer()
            .add("bert.embeddings.position_ids", "I64", ByteBuffer.allocate(8 * 20), 1, 20)
            .add("bert.embeddings.token_type_ids", "I64", ByteBuffer.allocate(8 * 20), 1, 20);
    same(
        weights(renamed("bert-masked-lm", name -> name, with)),
        weights(PEERS.resolve("bert-masked-lm")));
  }

  @Test
  void aBaseModelHasThePoolerItsFileHas() {
    assertThat(weights(PEERS.resolve("bert-base"))).containsKey("bert.pooler.dense.weight");
    assertThat(weights(PEERS.resolve("bert-base-without-pooler")))
        .doesNotContainKey("bert.pooler.dense.weight");
  }

  @Test
  void whatIsNotThisFamily_isRefused() throws IOException {
    Path copy = renamed("bert-masked-lm", name -> name, writer());
    ObjectNode config = Json.readObject(copy.resolve("config.json"));
    for (String type : new String[] {"roberta", "distilbert", "gpt2", "mpnet", "albert", ""}) {
      config.put("model_type", type);
      Files.writeString(copy.resolve("config.json"), Json.pretty(config));
      assertThatThrownBy(() -> Network.load(device, copy, Task.BASE, DType.FLOAT32))
          .as(type)
          .isInstanceOf(InvalidInputException.class);
    }
    assertThatThrownBy(() -> task(copy)).hasMessageContaining("BertForMaskedLM");
  }

  @ParameterizedTest
  @ValueSource(strings = {"roberta-masked-lm", "distilbert-masked-lm"})
  void nextSentencesAreBertsAlone(String fixture) {
    Path model = PEERS.resolve(fixture);
    assertThatThrownBy(() -> Network.load(device, model, Task.PRETRAINING, DType.FLOAT32))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("has no head for PRETRAINING");
  }

  @Test
  void aMissingTensorOfTheBody_isNamed() throws IOException {
    String gone = "roberta.encoder.layer.1.output.dense.bias";
    Path copy = renamed("roberta-masked-lm", name -> name.equals(gone) ? null : name, writer());
    assertThatThrownBy(() -> weights(copy))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("tensors of a roberta are missing: [" + gone + "]");
  }

  /** What is saved is what was loaded, under the same architecture. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "bert-masked-lm-untied",
        "bert-pretraining",
        "bert-classification",
        "bert-base",
        "roberta-classification",
        "roberta-masked-lm",
        "distilbert-classification",
        "distilbert-masked-lm",
        "gpt2-lm-untied"
      })
  void savedAndLoaded(String fixture) {
    Path model = PEERS.resolve(fixture);
    Path saved = directory.resolve("saved");
    try (Network network = Network.load(device, model, task(model), DType.FLOAT32)) {
      network.save(saved);
    }
    same(weights(saved), weights(model));
    ObjectNode was = Json.readObject(model.resolve("config.json"));
    ObjectNode is = Json.readObject(saved.resolve("config.json"));
    for (String key : new String[] {"architectures", "model_type", "dtype"}) {
      assertThat(is.get(key)).as(key).isEqualTo(was.get(key));
    }
    is.fieldNames()
        .forEachRemaining(
            key -> {
              boolean numeric = is.get(key).isNumber() && was.hasNonNull(key);
              if (numeric && !key.equals("classifier_dropout")) {
                assertThat(is.get(key).asDouble()).as(key).isEqualTo(was.get(key).asDouble());
              }
            });
    assertThat(Arrays.asList(saved.toFile().list()))
        .containsExactlyInAnyOrder("config.json", "model.safetensors");
  }
}
