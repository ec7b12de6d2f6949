package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.cli.Cli.Result;
import dev.graft.io.Json;
import dev.graft.runtime.CudaBackend;
import dev.graft.verify.ProductCheck;
import dev.graft.verify.StepCheck;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code graft verify} on the emulated card; a script stands for the native tests. */
class VerifyCommandTest {
  @TempDir Path folder;

  @AfterEach
  void forget() {
    System.clearProperty(VerifyCommand.NATIVE_TESTS);
  }

  @Test
  void whatCannotBeVerified_isRefused() {
    Cli.run("verify", "--device", "cpu").refused("--device: expected cuda, cuda:N or emulate");
    Cli.run("verify", "--repeats", "1").refused("--repeats: expected at least 2, got 1");
    assumeTrue(Devices.whyNoCuda() != null, "no card");
    Cli.run("verify").refused("--device cuda: ", "graft doctor");
  }

  @Test
  void emulatedCard_isCheckedAndCounted() throws IOException {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    Path script =
        Files.writeString(
            folder.resolve("tests"),
            """
            #!/bin/sh
            for a in "$@"; do case $a in --gtest_output=json:*) file=${a#*json:} ;; esac; done
            echo '{"testsuites": [{"name": "A", "testsuite": [
              {"name": "b", "status": "RUN", "result": "COMPLETED",
               "failures": [{"failure": "x"}]}]}]}' > "$file"
            exit 1
            """);
    assertThat(script.toFile().setExecutable(true)).isTrue();
    System.setProperty(VerifyCommand.NATIVE_TESTS, script.toString());
    Result result =
        Cli.run(
            "verify",
            "--device",
            "emulate",
            "--repeats",
            "2",
            "--json",
            "--results",
            folder.resolve("results").toString());
    assertThat(result.code()).isEqualTo(ExitCode.FAILED);
    ObjectNode report = result.json().get(0);
    assertThat(report.path("passed").asBoolean()).isFalse();
    assertThat(report.at("/native_tests/failed").asInt()).isEqualTo(1);
    assertThat(report.at("/native_tests/failures/0").asText()).isEqualTo("A.b");
    assertThat(report.at("/products/passed").asInt()).isEqualTo(ProductCheck.cases().size());
    assertThat(report.at("/products/failed").asInt()).isZero();
    assertThat(report.at("/training_steps/passed").asInt())
        .isEqualTo(StepCheck.Case.values().length);
    assertThat(report.at("/training_steps/failed").asInt()).isZero();
    assertThat(report.at("/training_steps/largest_error_of_allowed").asDouble())
        .isBetween(1e-6, 1.0);
    assertThat(report.at("/repeats/passed").asInt()).isEqualTo(2);
    assertThat(report.at("/sanitizer/not_run").asText()).contains("emulated");
    assertThat(report.at("/speed/failed").asInt()).isZero();
    assertThat(report.at("/speed/passed").asInt())
        .isEqualTo(report.at("/speed/kernels").size() + report.at("/speed/models").size());
    String name = "emulated-" + report.path("date").asText();
    assertThat(Json.readObject(folder.resolve("results").resolve(name + ".json")))
        .isEqualTo(report);
    assertThat(folder.resolve("results").resolve(name + ".md"))
        .content()
        .contains(
            "# Verified on the emulated card",
            "**something failed**",
            "| native tests of every kernel against the CPU backend | 0 | 1 | 0 |",
            "- A.b",
            "| compute-sanitizer | not run: the emulated device",
            "| classifier | 5x1000 |",
            "| GPT-2 pretraining | 2x48 |")
        .doesNotContain("NaN");
  }

  /** Nothing is measured or written that was not asked for. */
  @Test
  void parts_aloneAreDone() {
    Cli.run("verify", "--parts", "steps,speeed")
        .refused(
            "--parts: expected tests, sanitizer, products, steps, repeats or speed, got speeed");
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    Result result = Cli.run("verify", "--device", "emulate", "--parts", "sanitizer", "--json");
    assertThat(result.code()).isEqualTo(ExitCode.DONE);
    assertThat(result.json().get(0).fieldNames())
        .toIterable()
        .containsExactlyInAnyOrder(
            "date", "commit", "device", "card", "matrix_products", "sanitizer", "passed");
  }
}
