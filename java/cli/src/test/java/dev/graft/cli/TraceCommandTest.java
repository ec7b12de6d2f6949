package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The reference's numbers are checked to 1e-4 relative by the library's own tests too. */
class TraceCommandTest {
  private static final Path BERT = Cli.MODELS.resolve("generated-bert");
  private static final Path EXPECTED = BERT.resolve("expected.safetensors");
  private static final double BOUND = 1e-4;

  @TempDir Path folder;

  @Test
  void pass_writesReferenceNamesAndNumbers() {
    Path out = folder.resolve("out.safetensors");
    Cli.run("trace", "--model", BERT, "--inputs", EXPECTED, "--outputs", out, "--gradients").done();
    double loss = Json.readObject(BERT.resolve("expected.json")).get("loss").asDouble();
    try (Safetensors got = Safetensors.open(out);
        Safetensors model = Safetensors.open(BERT.resolve("model.safetensors"))) {
      assertThat(got.floats("loss")[0]).isCloseTo((float) loss, within((float) (BOUND * loss)));
      assertThat(got.names())
          .contains(
              "prediction_logits",
              "seq_relationship_logits",
              "hidden_states.0",
              "hidden_states.3",
              "last_hidden_state",
              "pooler_output");
      for (String name : model.names()) {
        if (!name.startsWith("cls.predictions.decoder")) { // tied
          assertThat(got.info("grad." + name).shape()).isEqualTo(model.info(name).shape());
        }
      }
    }
  }

  @Test
  void steps_printJsonLinesOfTheReferenceAndSaveTheModel() {
    JsonNode adamw = Json.readObject(BERT.resolve("expected.json")).get("adamw_10_steps");
    JsonNode losses = adamw.get("loss_before_each_step_then_after_last");
    Path saved = folder.resolve("saved");
    List<ObjectNode> lines =
        Cli.run(
                "trace",
                "--model",
                BERT,
                "--inputs",
                EXPECTED,
                "--steps",
                "10",
                "--lr",
                "0.001",
                "--betas",
                "0.9,0.999",
                "--eps",
                "1e-8",
                "--weight-decay",
                "0.01",
                "--decay",
                "all",
                "--clip",
                "0",
                "--save",
                saved)
            .done()
            .json();
    assertThat(lines).hasSize(11);
    for (int i = 0; i < 11; i++) {
      double want = losses.get(i).asDouble();
      assertThat(lines.get(i).get("loss").asDouble()).isCloseTo(want, within(BOUND * want));
      if (i < 10) {
        double norm = adamw.get("grad_l2_norm_each_step").get(i).asDouble();
        assertThat(lines.get(i).get("step").asInt()).isEqualTo(i + 1);
        assertThat(lines.get(i).get("grad_norm").asDouble()).isCloseTo(norm, within(BOUND * norm));
      }
    }
    assertThat(lines.get(10).has("step")).isFalse();
    Path out = folder.resolve("after.safetensors");
    Cli.run("trace", "--model", saved, "--inputs", EXPECTED, "--outputs", out).done();
    try (Safetensors got = Safetensors.open(out)) {
      assertThat((double) got.floats("loss")[0])
          .isCloseTo(losses.get(10).asDouble(), within(BOUND * losses.get(10).asDouble()));
    }
  }

  /** Oracle: the same tokens in one row without padding. */
  @Test
  void paddingOnEitherSide_givesTheNumbersOfTheTokensAlone() {
    Path gpt = Cli.MODELS.resolve("hf-tiny-random-gpt2");
    long[] tokens = {52, 195, 731, 321, 301};
    float[] alone = logits(gpt, inputs("alone", tokens, null, null));
    long[] position = {0, 1, 2, 3, 4, 0, 0, 0};
    long[] right = Arrays.copyOf(tokens, 8);
    float[] padded =
        logits(gpt, inputs("right", right, new long[] {1, 1, 1, 1, 1, 0, 0, 0}, position));
    long[] left = new long[8];
    System.arraycopy(tokens, 0, left, 3, 5);
    long[] leftPosition = {0, 0, 0, 0, 1, 2, 3, 4};
    float[] leftPadded =
        logits(gpt, inputs("left", left, new long[] {0, 0, 0, 1, 1, 1, 1, 1}, leftPosition));
    int width = 1000;
    assertThat(Arrays.copyOf(padded, 5 * width)).containsExactly(alone);
    assertThat(Arrays.copyOfRange(leftPadded, 3 * width, 8 * width)).containsExactly(alone);
    assertThat(Arrays.copyOfRange(padded, 5 * width, 8 * width)).containsOnly(0);
    assertThat(Arrays.copyOf(leftPadded, 3 * width)).containsOnly(0);
  }

  private float[] logits(Path model, Path inputs) {
    Path out = folder.resolve("logits.safetensors");
    Cli.run("trace", "--model", model, "--inputs", inputs, "--outputs", out, "--threads", 1).done();
    try (Safetensors got = Safetensors.open(out)) {
      return got.floats("logits");
    }
  }

  private Path inputs(String name, long[] ids, long[] mask, long[] positions) {
    Path file = folder.resolve(name + ".safetensors");
    SafetensorsWriter writer = new SafetensorsWriter();
    writer.add("input_ids", "I64", bytes(ids), 1, ids.length);
    if (mask != null) {
      writer.add("attention_mask", "I64", bytes(mask), 1, ids.length);
      writer.add("position_ids", "I64", bytes(positions), 1, ids.length);
    }
    writer.write(file);
    return file;
  }

  private static ByteBuffer bytes(long[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asLongBuffer().put(values);
    return bytes;
  }

  @Test
  void badInput_isRefusedAndLeavesNothing() throws IOException {
    Path cut = folder.resolve("cut.safetensors");
    byte[] whole = Files.readAllBytes(EXPECTED);
    Files.write(cut, Arrays.copyOf(whole, whole.length - 1000));
    Path big = inputs("big", new long[] {5, 4000}, null, null);
    Path model = folder.resolve("model");
    Files.createDirectories(model);
    Files.copy(BERT.resolve("model.safetensors"), model.resolve("model.safetensors"));
    Files.writeString(model.resolve("config.json"), "{\"model_type\": \"bert\"");
    List<String> before = Cli.tree(folder);
    Path out = folder.resolve("out.safetensors");

    trace(BERT, cut, out).refused("cut.safetensors");
    trace(BERT, folder.resolve("no.safetensors"), out).refused("no.safetensors: no such file");
    trace(BERT, big, out).refused("big.safetensors: input_ids: expected values in 0..1023");
    trace(model, EXPECTED, out).refused("config.json", "not valid JSON");
    trace(folder.resolve("none"), EXPECTED, out).refused("none: no such directory");
    trace(BERT, EXPECTED, cut.resolve("out")).refused("cut.safetensors");
    Cli.run("trace", "--model", BERT, "--inputs", EXPECTED).refused("nothing to do");
    Cli.run("trace", "--model", BERT, "--inputs", EXPECTED, "--steps", 1, "--betas", "0.9")
        .refused("--betas");
    Cli.run("trace", "--model", BERT, "--inputs", EXPECTED, "--steps", 1, "--dtype", "fp16")
        .refused("fp16");
    Path unlabelled = inputs("unlabelled", new long[] {5, 6}, null, null);
    Cli.run("trace", "--model", BERT, "--inputs", unlabelled, "--outputs", out, "--gradients")
        .refused("labels");
    Files.delete(unlabelled);
    assertThat(Cli.tree(folder)).isEqualTo(before);
  }

  @Test
  void truncatedWeights_areRefused() throws IOException {
    Path model = folder.resolve("model");
    Files.createDirectories(model);
    Files.copy(BERT.resolve("config.json"), model.resolve("config.json"));
    byte[] whole = Files.readAllBytes(BERT.resolve("model.safetensors"));
    Files.write(model.resolve("model.safetensors"), Arrays.copyOf(whole, whole.length / 2));
    trace(model, EXPECTED, folder.resolve("out.safetensors")).refused("model.safetensors");
    assertThat(folder.resolve("out.safetensors")).doesNotExist();
  }

  @Test
  void withoutArchitectures_headsAreThoseOfTheWeights() throws IOException {
    Path model = folder.resolve("model");
    Files.createDirectories(model);
    Files.copy(BERT.resolve("model.safetensors"), model.resolve("model.safetensors"));
    ObjectNode config = Json.readObject(BERT.resolve("config.json"));
    config.remove("architectures");
    Files.writeString(model.resolve("config.json"), Json.line(config));
    Path out = folder.resolve("out.safetensors");
    trace(model, EXPECTED, out).done();
    try (Safetensors got = Safetensors.open(out)) {
      assertThat(got.names()).contains("loss", "prediction_logits", "seq_relationship_logits");
    }
  }

  /** Asked for before memory is taken, for there may be none that holds it. */
  @ParameterizedTest
  @ValueSource(strings = {"num_hidden_layers", "vocab_size", "max_position_embeddings"})
  void hugeConfigs_areRefusedByTheWeights(String key) throws IOException {
    Path model = folder.resolve("model");
    Files.createDirectories(model);
    Files.copy(BERT.resolve("model.safetensors"), model.resolve("model.safetensors"));
    ObjectNode config = Json.readObject(BERT.resolve("config.json"));
    Files.writeString(model.resolve("config.json"), Json.line(config.put(key, 2_000_000_000)));
    trace(model, EXPECTED, folder.resolve("out.safetensors"))
        .refused("model.safetensors: holds", "config.json needs more");
  }

  private static Cli.Result trace(Path model, Path inputs, Path outputs) {
    return Cli.run("trace", "--model", model, "--inputs", inputs, "--outputs", outputs);
  }
}
