package dev.graft.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.Json;
import dev.graft.io.Safetensors;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Each family and task against the reference implementation in double, as {@code
 * bench/peers/make_fixtures.py} recorded it: loss, every output and every gradient lie no further
 * from it than twice the reference's own fp32 error and two units in the last place of the tensor's
 * largest number.
 */
class PeerFixturesTest {
  private static final Path CASES = Path.of("src/test/resources/peers");
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

  static List<String> cases() throws IOException {
    try (Stream<Path> folders = Files.list(CASES)) {
      return folders
          .filter(Files::isDirectory)
          .map(folder -> folder.getFileName().toString())
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void everyTensor_within2xReferenceError(String name) {
    Path inputs = CASES.resolve(name).resolve("reference.safetensors");
    JsonNode errors = Json.readObject(CASES.resolve(name).resolve("reference.json")).get("errors");
    Path out = temp.resolve("out.safetensors");
    List<String> misses = new ArrayList<>();
    try (Safetensors want = Safetensors.open(inputs)) {
      try (Trace trace = new Trace(device, CASES.resolve(name), inputs, DType.FLOAT32)) {
        trace.run(out, want.contains(EXACT + "loss"));
      }
      try (Safetensors got = Safetensors.open(out)) {
        for (String key : want.names()) {
          if (key.startsWith(EXACT)) {
            String tensor = key.substring(EXACT.length());
            compare(got, tensor, doubles(want, key), errors.get(tensor).asDouble(), misses);
          }
        }
        for (String tensor : got.names()) {
          boolean known = want.contains(EXACT + tensor) || tensor.equals("last_hidden_state");
          boolean pooled = tensor.equals("pooler_output"); // the reference's heads do not give it
          assertThat(known || pooled).as("the reference has %s", tensor).isTrue();
        }
      }
    }
    assertThat(misses).isEmpty();
  }

  private static void compare(
      Safetensors got, String tensor, double[] want, double error, List<String> misses) {
    float[] values = got.floats(tensor);
    assertThat(values).as(tensor).hasSize(want.length);
    double largest = 0;
    double distance = 0;
    for (int i = 0; i < want.length; i++) {
      largest = Math.max(largest, Math.abs(want[i]));
      distance = Math.max(distance, Math.abs(values[i] - want[i]));
    }
    double bound = 2 * error + 2 * Math.ulp((float) largest);
    if (!(distance <= bound)) {
      misses.add(String.format("%s: %.3g, bound %.3g", tensor, distance, bound));
    }
  }

  private static double[] doubles(Safetensors file, String name) {
    ByteBuffer raw = file.buffer(name);
    double[] values = new double[raw.remaining() / 8];
    raw.asDoubleBuffer().get(values);
    return values;
  }

  @Test
  void casesOfEveryFamily() throws IOException {
    assertThat(cases().stream().map(name -> name.replaceFirst("-.*", "")).distinct())
        .containsExactlyInAnyOrder("bert", "distilbert", "gpt2", "roberta");
  }
}
