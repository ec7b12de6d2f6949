package dev.graft.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import dev.graft.io.TensorInfo;
import dev.graft.model.OptimizerOptions.Decay;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Small published models against the reference implementation's numbers, through {@link Trace}:
 * fp32 within 1e-4 relative (‖got − want‖ / ‖want‖ a tensor), the bound the issue names; the
 * oracle's own fp32 error is about 1e-6.
 */
class ReferenceModelsTest {
  private static final double BOUND = 1e-4;
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

  private static Path model(String name) {
    return Path.of("src/test/resources/models", name);
  }

  private Path run(String name, Path inputs, boolean gradients) {
    Path out = temp.resolve("out.safetensors");
    try (Trace trace = new Trace(device, model(name), inputs, DType.FLOAT32)) {
      trace.run(out, gradients);
    }
    return out;
  }

  /** Rows (last axis) whose mask is 0 are left out. */
  private static void close(
      String name, float[] got, float[] want, int[] mask, int width, double bound) {
    assertThat(got).as(name).hasSameSizeAs(want);
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < want.length; i++) {
      if (mask == null || mask[i / width] != 0) {
        double d = (double) got[i] - want[i];
        difference += d * d;
        norm += (double) want[i] * want[i];
      }
    }
    assertThat(Math.sqrt(difference / norm)).as("relative error of " + name).isLessThan(bound);
  }

  @ParameterizedTest
  @ValueSource(strings = {"generated-bert", "hf-tiny-random-gpt2", "tf-bert-toy", "tf-gpt2-toy"})
  void everyExpectedTensor_within1e4(String name) {
    Path expected = model(name).resolve("expected.safetensors");
    Path out = run(name, expected, false);
    try (Safetensors want = Safetensors.open(expected);
        Safetensors got = Safetensors.open(out)) {
      int[] mask = want.contains("attention_mask") ? want.ints("attention_mask") : null;
      int compared = 0;
      for (String tensor : want.names()) {
        TensorInfo info = want.info(tensor);
        if (info.dtype().equals("F32")) {
          boolean perToken = info.shape().length == 3;
          int width = Math.toIntExact(info.shape()[info.shape().length - 1]);
          close(
              tensor,
              got.floats(tensor),
              want.floats(tensor),
              perToken ? mask : null,
              width,
              BOUND);
          assertThat(got.info(tensor).shape()).as(tensor).isEqualTo(info.shape());
          compared++;
        }
      }
      assertThat(compared).isPositive();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"generated-bert", "hf-tiny-random-gpt2"})
  void lossAndAdamwTrace_within1e4(String name) throws IOException {
    ObjectNode expected = Json.readObject(model(name).resolve("expected.json"));
    JsonNode adamw = expected.get("adamw_10_steps");
    Path inputs = model(name).resolve("expected.safetensors");
    if (name.startsWith("hf")) {
      inputs = withLabels(inputs);
    }
    OptimizerOptions options =
        new OptimizerOptions(
            (float) adamw.get("betas").get(0).asDouble(),
            (float) adamw.get("betas").get(1).asDouble(),
            (float) adamw.get("eps").asDouble(),
            (float) adamw.get("weight_decay").asDouble(),
            Decay.ALL,
            0);
    List<Double> losses = new ArrayList<>();
    List<Double> norms = new ArrayList<>();
    try (Trace trace = new Trace(device, model(name), inputs, DType.FLOAT32)) {
      double last =
          trace.train(
              10,
              (float) adamw.get("lr").asDouble(),
              options,
              step -> {
                losses.add(step.loss());
                norms.add(step.gradNorm());
              });
      losses.add(last);
    }
    JsonNode wantNorms = adamw.get("grad_l2_norm_each_step");
    JsonNode wantLosses = adamw.get("loss_before_each_step_then_after_last");

    assertThat(norms.get(0) / wantNorms.get(0).asDouble() - 1)
        .as("first gradient norm")
        .isBetween(-BOUND, BOUND);
    for (int i = 0; i < wantLosses.size(); i++) {
      assertThat(losses.get(i) / wantLosses.get(i).asDouble() - 1)
          .as("loss before step %d", i + 1)
          .isBetween(-BOUND, BOUND);
    }
    for (int i = 0; i < wantNorms.size(); i++) {
      assertThat(norms.get(i) / wantNorms.get(i).asDouble() - 1)
          .as("gradient norm of step %d", i + 1)
          .isBetween(-BOUND, BOUND);
    }
  }

  /** The causal trace trains on its own input ids. */
  private Path withLabels(Path expected) {
    Path file = temp.resolve("labelled.safetensors");
    try (Safetensors in = Safetensors.open(expected)) {
      long[] shape = in.info("input_ids").shape();
      new SafetensorsWriter()
          .add("input_ids", "I64", in.buffer("input_ids"), shape)
          .add("labels", "I64", in.buffer("input_ids"), shape)
          .write(file);
    }
    return file;
  }

  @Test
  void nanoSort_everyBlock_within1e4() throws IOException {
    JsonNode partials =
        Json.readObject(model("gpt-nano-sort").resolve("gpt-nano-sort-t0-partials.json"));
    float[] ids = decode(partials.get("idx"));
    ByteBuffer raw = ByteBuffer.allocate(8 * ids.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float id : ids) {
      raw.putLong((long) id);
    }
    raw.flip();
    Path inputs = temp.resolve("in.safetensors");
    new SafetensorsWriter().add("input_ids", "I64", raw, 3, 11).write(inputs);
    try (Safetensors got = Safetensors.open(run("gpt-nano-sort", inputs, false))) {
      for (int block = 0; block < 2; block++) {
        close(
            "block" + block,
            got.floats("hidden_states." + (block + 1)),
            decode(partials.get("block" + block)),
            null,
            48,
            BOUND);
      }
      close("ln_f", got.floats("hidden_states.3"), decode(partials.get("ln_f")), null, 48, BOUND);
      float[] logits =
          decode(partials.has("logits") ? partials.get("logits") : partials.get("lm_head"));
      close("logits", got.floats("logits"), logits, null, 3, BOUND);
    }
  }

  private static float[] decode(JsonNode tensor) {
    ByteBuffer bytes =
        ByteBuffer.wrap(Base64.getDecoder().decode(tensor.get("data").asText()))
            .order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[bytes.remaining() / 4];
    bytes.asFloatBuffer().get(values);
    return values;
  }

  @Test
  void tinyBert_oneHeadOf50Channels_within1e4() {
    ObjectNode expected = Json.readObject(model("tribuo-tinybert").resolve("expected.json"));
    JsonNode ids = expected.get("input_ids");
    ByteBuffer raw = ByteBuffer.allocate(8 * ids.size()).order(ByteOrder.LITTLE_ENDIAN);
    ids.forEach(id -> raw.putLong(id.asLong()));
    raw.flip();
    Path inputs = temp.resolve("in.safetensors");
    new SafetensorsWriter().add("input_ids", "I64", raw, 1, ids.size()).write(inputs);
    try (Safetensors got = Safetensors.open(run("tribuo-tinybert", inputs, false))) {
      close(
          "last_hidden_state",
          got.floats("last_hidden_state"),
          flat(expected.get("last_hidden_state")),
          null,
          50,
          BOUND);
      close(
          "pooler_output",
          got.floats("pooler_output"),
          flat(expected.get("pooler_output")),
          null,
          50,
          BOUND);
    }
  }

  private static float[] flat(JsonNode node) {
    List<Float> values = new ArrayList<>();
    collect(node, values);
    float[] out = new float[values.size()];
    for (int i = 0; i < out.length; i++) {
      out[i] = values.get(i);
    }
    return out;
  }

  private static void collect(JsonNode node, List<Float> into) {
    if (node.isArray()) {
      node.forEach(child -> collect(child, into));
    } else {
      into.add((float) node.asDouble());
    }
  }

  /** Greedy continuations equal the reference's, by the decoder with its KV cache. */
  @Test
  void greedyDecoding_equalsReference() {
    JsonNode expected = Json.readObject(model("hf-tiny-random-gpt2").resolve("expected.json"));
    int[][] prompts = ints(expected.get("input_ids"));
    int[][] want = ints(expected.get("greedy").get("sequences"));
    try (Network network =
            Network.load(device, model("hf-tiny-random-gpt2"), Task.CAUSAL_LM, DType.FLOAT32);
        Decoder decoder =
            new Decoder(
                network, prompts.length, new dev.graft.program.Ops.Sampling(0, 0, 1, 1, 0), 1)) {
      int[] next = decoder.prefill(prompts);
      for (int t = prompts[0].length; t < want[0].length; t++) {
        for (int b = 0; b < prompts.length; b++) {
          assertThat(next[b]).as("sequence %d token %d", b, t).isEqualTo(want[b][t]);
        }
        next = decoder.step(next.clone());
      }
    }
  }

  private static int[][] ints(JsonNode node) {
    int[][] rows = new int[node.size()][];
    for (int b = 0; b < rows.length; b++) {
      rows[b] = new int[node.get(b).size()];
      for (int i = 0; i < rows[b].length; i++) {
        rows[b][i] = node.get(b).get(i).asInt();
      }
    }
    return rows;
  }
}
