package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

class MemoryCommandTest {
  private static ObjectNode run(String... arguments) {
    PrintStream before = System.out;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    try {
      assertThat(new CommandLine(new MemoryCommand()).execute(arguments)).isZero();
    } finally {
      System.setOut(before);
    }
    return Json.parseObject(Path.of("output"), out.toByteArray());
  }

  /** Oracle: 12 bytes a parameter, and the tensors a block of each family keeps. */
  @Test
  void whatIsHeld_isWhatTheTensorsAre() {
    for (String model : new String[] {"gpt2-micro", "bert-tiny"}) {
      ObjectNode line = run("--model", model, "--batch", "4", "--tokens", "64", "--json");
      long weights = line.get("weights").asLong();
      assertThat(line.get("master weights").asLong()).isEqualTo(2 * weights);
      assertThat(line.get("gradients and moments").asLong())
          .isBetween(6 * weights, 6 * weights + 1_000_000);
      long none = line.get("activations, recompute none").asLong();
      long activation = line.get("activations, recompute activation").asLong();
      long block = line.get("activations, recompute block").asLong();
      assertThat(none).isGreaterThan(activation);
      assertThat(activation).isGreaterThan(block);
    }
  }

  @Test
  void shapesThatAreNone_areRefused() {
    StringWriter err = new StringWriter();
    CommandLine line = new CommandLine(new MemoryCommand()).setErr(new PrintWriter(err));
    assertThat(line.execute("--model", "gpt2-micro", "--tokens", "100", "--batch", "1"))
        .isNotZero();
    assertThat(err.toString()).contains("a multiple of 128 together, got 1 of 100");
  }
}
