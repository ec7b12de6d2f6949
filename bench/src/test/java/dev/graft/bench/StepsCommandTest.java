package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.Batch;
import dev.graft.io.Json;
import dev.graft.model.Presets;
import dev.graft.model.Task;
import dev.graft.verify.StepFlops;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class StepsCommandTest {
  private static final long GIB = 1L << 30;

  /** The command in a process of its own, whose peak of memory is no other test's. */
  private static String output(String... arguments) throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "-XX:+UseSerialGC",
                "-Dorg.bytedeco.javacpp.maxBytes=0",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-cp",
                System.getProperty("java.class.path"),
                "dev.graft.cli.Main",
                "bench"));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    process.getInputStream().transferTo(out);
    assertThat(process.waitFor()).isZero();
    return out.toString(StandardCharsets.UTF_8);
  }

  private static ObjectNode steps(String... arguments) throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(List.of("steps", "--json"));
    all.addAll(List.of(arguments));
    return (ObjectNode) Json.MAPPER.readTree(output(all.toArray(new String[0])));
  }

  /** The bound the project promises: weights, gradients, moments, activations, and the JVM. */
  @Test
  void gpt2Of124MillionAt1024TokensInBf16_trainsWithin4GiB() throws Exception {
    assumeThat(Files.exists(Path.of("/proc/self/status"))).as("a system that tells").isTrue();
    ObjectNode line =
        steps("--model", "gpt2-small", "--tokens", "1024", "--dtype", "bf16", "--steps", "1");
    assertThat(line.get("parameters").asLong()).isEqualTo(124_439_808);
    long peak = line.get("peak_rss_bytes").asLong();
    // Master weights, gradients and two moments in fp32 alone are 4 x 4 bytes a parameter.
    assertThat(peak).isGreaterThan(16L * 124_439_808).isLessThan(4 * GIB);
    assertThat(line.get("activation_bytes").asLong()).isLessThan(GIB / 2);
  }

  @Test
  void libtorchBesideIt_givesBothTimes() throws Exception {
    ObjectNode line =
        steps(
            "--model",
            "bert-tiny",
            "--tokens",
            "16",
            "--dtype",
            "fp32",
            "--steps",
            "2",
            "--libtorch",
            "--threads",
            "1");
    assertThat(line.get("shape").asText()).isEqualTo("1x16");
    assertThat(line.get("graft_ms").asDouble()).isPositive();
    assertThat(line.get("ratio").asDouble())
        .isCloseTo(
            line.get("libtorch_ms").asDouble() / line.get("graft_ms").asDouble(), within(1e-3));
    assertThat(line.get("limit_fraction").asDouble()).isBetween(0.0, 1.2);
  }

  /**
   * Oracle: 6 operations a token and a parameter of a product (Kaplan et al., arXiv:2001.08361,
   * section 2.1), and 12 a channel, layer and pair for attention, by hand for GPT-2's smallest.
   */
  @Test
  void flopsOfGpt2Small_areThoseCountedByHand() {
    Batch batch = new Batch(1024, 1, 1024);
    batch.begin();
    batch.beginSequence(Batch.IGNORED);
    for (int t = 0; t < 1024; t++) {
      batch.addToken(1, t, 0, 1);
    }
    batch.finish();
    double products = 6.0 * (84_934_656 + 38_597_376) * 1024;
    double attention = 12.0 * 768 * 12 * (1024 * 1025 / 2);
    assertThat(
            StepFlops.of(Presets.gpt2().get("small").withVocabSize(50257), Task.CAUSAL_LM, batch))
        .isEqualTo(products + attention);
  }

  @Test
  void numbersOfCores_areDoubled_upToAll() {
    assertThat(ScalingCommand.doublings(1)).containsExactly(1);
    assertThat(ScalingCommand.doublings(2)).containsExactly(1, 2);
    assertThat(ScalingCommand.doublings(12)).containsExactly(1, 2, 4, 8, 12);
  }

  @Test
  void scaling_timesEachNumberOfThreads() throws Exception {
    String[] lines =
        output("scaling", "--json", "--model", "bert-tiny", "--tokens", "16", "--steps", "1")
            .split("\n");
    assertThat(lines).hasSizeGreaterThanOrEqualTo(1);
    JsonNode first = Json.MAPPER.readTree(lines[0]);
    assertThat(first.path("threads").asInt()).isEqualTo(1);
    assertThat(first.path("speed_up").asDouble()).isEqualTo(1);
    assertThat(first.path("efficiency").asDouble()).isEqualTo(1);
    JsonNode last = Json.MAPPER.readTree(lines[lines.length - 1]);
    double speedUp = first.path("graft_ms").asDouble() / last.path("graft_ms").asDouble();
    assertThat(last.path("speed_up").asDouble()).isCloseTo(speedUp, within(1e-9));
    assertThat(last.path("efficiency").asDouble())
        .isCloseTo(speedUp / last.path("threads").asInt(), within(1e-9));
  }
}
