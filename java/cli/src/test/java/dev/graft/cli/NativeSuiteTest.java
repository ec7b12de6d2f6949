package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How the native tests' results are read; a shell script stands for the program. */
class NativeSuiteTest {
  @TempDir Path folder;
  private final StringWriter err = new StringWriter();

  private NativeSuite.Result run(Path plugin, boolean full, String... script) throws IOException {
    Path program = folder.resolve("tests");
    Files.writeString(program, "#!/bin/sh\n" + String.join("\n", script) + "\n");
    assertThat(program.toFile().setExecutable(true)).isTrue();
    return NativeSuite.run(List.of(), program, plugin, full, "A*:B*", new PrintWriter(err, true));
  }

  /** A report as GoogleTest writes it. */
  private static final String REPORT =
      """
      for a in "$@"; do case $a in --gtest_output=json:*) file=${a#*json:} ;; esac; done
      cat > "$file" <<'END'
      {"tests": 4, "testsuites": [
        {"name": "CudaAdd", "testsuite": [
          {"name": "adds", "status": "RUN", "result": "COMPLETED"},
          {"name": "breaks", "status": "RUN", "result": "COMPLETED",
           "failures": [{"failure": "x"}]}]},
        {"name": "CudaCast", "testsuite": [
          {"name": "isForTheEmulation", "status": "RUN", "result": "SKIPPED"},
          {"name": "isFilteredOut", "status": "NOTRUN", "result": "SUPPRESSED"},
          {"name": "casts", "status": "RUN", "result": "COMPLETED"}]}]}
      END
      """;

  @Test
  void counts_andWhatFailedIsShown() throws IOException {
    NativeSuite.Result result = run(null, false, "echo expected 1 got 2", REPORT, "exit 1");
    assertThat(result.passed()).isEqualTo(2);
    assertThat(result.skipped()).isEqualTo(1);
    assertThat(result.failures()).isEqualTo(List.of("CudaAdd.breaks"));
    assertThat(err.toString()).contains("expected 1 got 2");
  }

  @Test
  void aCrash_isAFailure() throws IOException {
    NativeSuite.Result result = run(null, false, "echo going down", "kill -9 $$");
    assertThat(result.passed()).isZero();
    assertThat(result.failures()).isEqualTo(List.of("the program ended with 137"));
    assertThat(err.toString()).contains("going down");
  }

  @Test
  void plugin_grid_andFilter_reachTheProgram() throws IOException {
    NativeSuite.Result result =
        run(
            Path.of("/lib/plugin.so"),
            true,
            "[ \"$GRAFT_CUDA_PLUGIN\" = /lib/plugin.so ] || exit 3",
            "[ \"$GRAFT_TEST_FULL\" = 1 ] || exit 4",
            "case \"$*\" in *--gtest_filter=A\\*:B\\**) ;; *) exit 5 ;; esac",
            "exit 0");
    assertThat(result.failures()).isEmpty();
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void aProgramThatIsNotThere_isNamed() {
    assertThatThrownBy(
            () ->
                NativeSuite.run(
                    List.of(),
                    folder.resolve("none"),
                    null,
                    false,
                    "*",
                    new PrintWriter(err, true)))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("none");
  }

  /** What a wrapper finds fails a run whose tests all passed. */
  @Test
  void aWrapper_runsTheProgram_andMayFailIt() throws IOException {
    Path wrapper = folder.resolve("sanitizer");
    Files.writeString(wrapper, "#!/bin/sh\nshift 4\n\"$@\"\necho a race in adamw\nexit 86\n");
    assertThat(wrapper.toFile().setExecutable(true)).isTrue();
    Path program = folder.resolve("tests");
    Files.writeString(program, "#!/bin/sh\n" + REPORT.replace("\"failures\"", "\"none\""));
    assertThat(program.toFile().setExecutable(true)).isTrue();
    NativeSuite.Result result =
        NativeSuite.run(
            Sanitizer.command(wrapper, "racecheck"),
            program,
            null,
            false,
            "*",
            new PrintWriter(err, true));
    assertThat(result.passed()).isEqualTo(3);
    assertThat(result.failures()).isEqualTo(List.of("the program ended with 86"));
    assertThat(err.toString()).contains("a race in adamw");
  }

  @Test
  void theSanitizer_isLookedForWhereCudaIs() throws IOException {
    Path cuda = Files.createDirectories(folder.resolve("cuda/bin"));
    Path path = Files.createDirectories(folder.resolve("path"));
    Path nowhere = folder.resolve("nowhere");
    Map<String, String> environment =
        Map.of("CUDA_HOME", folder.resolve("cuda").toString(), "PATH", ":" + path);
    assertThat(Sanitizer.find(environment, nowhere)).isEmpty();
    Path onPath = executable(path);
    assertThat(Sanitizer.find(environment, nowhere)).contains(onPath);
    Path ofCuda = executable(cuda);
    assertThat(Sanitizer.find(environment, nowhere)).contains(ofCuda);
    assertThat(Sanitizer.find(Map.of(), path)).contains(onPath);
  }

  private static Path executable(Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("compute-sanitizer"), "#!/bin/sh\n");
    assertThat(file.toFile().setExecutable(true)).isTrue();
    return file;
  }
}
