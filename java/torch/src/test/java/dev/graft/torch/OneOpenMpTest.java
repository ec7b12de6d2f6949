package dev.graft.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Graft, oneDNN and libtorch bring a libgomp each. Two in a process would be two thread pools that
 * fight for the processors; whatever is loaded first, only one may be mapped. Oracle: the kernel's
 * own list of mapped files, in a new process for each order.
 */
class OneOpenMpTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "graft",
        "graft dnnl",
        "dnnl graft",
        "graft dnnl torch",
        "graft torch dnnl",
        "dnnl graft torch",
        "dnnl torch graft",
        "torch graft dnnl",
        "torch dnnl graft"
      })
  void anyOrder_mapsOneRuntime(String order) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                LoadOrder.class.getName()));
    command.addAll(List.of(order.split(" ")));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(1, TimeUnit.MINUTES)).isTrue();
    assertThat(process.exitValue()).as(output).isZero();
    assertThat(output.lines().filter(line -> line.startsWith("openmp "))).as(output).hasSize(1);
  }
}
