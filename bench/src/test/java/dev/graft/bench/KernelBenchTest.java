package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.bindings.global.graft;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.verify.DeviceLimits;
import dev.graft.verify.PyTorchPeer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelBenchTest {
  private static final DeviceLimits LIMITS = new DeviceLimits(1e9, 1e9, 1e9);

  /** A peer that does nothing: each run takes a millisecond, it says. */
  private static final String PEER =
      """
      import java.nio.file.*;
      import java.util.*;

      public class Peer {
        public static void main(String[] arguments) throws java.io.IOException {
          for (Scanner in = new Scanner(System.in); in.hasNextLine(); ) {
            String line = in.nextLine();
            if (line.startsWith("{\\"run\\":")) {
              int runs = Integer.parseInt(line.replaceAll("[^0-9]", ""));
              System.out.println("{\\"seconds\\": [" + "0.001,".repeat(runs - 1) + "0.001]}");
            } else {
              Files.writeString(Path.of(arguments[0]), line);
              System.out.println("{\\"ready\\": true}");
            }
          }
        }
      }
      """;

  @TempDir Path folder;

  @Test
  void aKernel_isTimedBesideAPeer() throws IOException {
    Path source = Files.writeString(folder.resolve("Peer.java"), PEER);
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    try (Device device = Device.cpu(1);
        PyTorchPeer peer =
            new PyTorchPeer(List.of(java, source.toString(), folder.resolve("asked").toString()));
        GemmCase gemm = new GemmCase(device, graft.GRAFT_FLOAT32, 4, 5, 6)) {
      KernelBench.Result result = new KernelBench(LIMITS, 0.01, peer, "djl").run(gemm);
      assertThat(result.peerSeconds()).isEqualTo(0.001);
      JsonNode line = Json.MAPPER.readTree(result.json());
      assertThat(line.path("djl_ms").asDouble()).isEqualTo(1.0);
      assertThat(line.path("djl_ratio").asDouble())
          .isCloseTo(1.0 / line.path("graft_ms").asDouble(), withinPercentage(0.1));
    }
    assertThat(folder.resolve("asked"))
        .content()
        .isEqualTo("{\"prepare\":{\"op\":\"gemm\",\"m\":4,\"n\":5,\"k\":6,\"dtype\":\"fp32\"}}");
  }

  @Test
  void withoutIt_theLineHasNoFigureOfIt() throws IOException {
    try (Device device = Device.cpu(1);
        GemmCase gemm = new GemmCase(device, graft.GRAFT_FLOAT32, 4, 5, 6)) {
      KernelBench.Result result = new KernelBench(LIMITS, 0.01, null, null).run(gemm);
      assertThat(Json.MAPPER.readTree(result.json()).has("djl_ms")).isFalse();
      assertThat(result.text()).doesNotContain("NaN");
    }
  }
}
