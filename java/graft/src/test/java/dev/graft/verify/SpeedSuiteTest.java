package dev.graft.verify;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.program.Ops.AttentionEngine;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The suite that runs on a card, on the processor. */
class SpeedSuiteTest {
  private static final DeviceLimits LIMITS = new DeviceLimits(1e9, 1e9, 2e9);

  /** Answers what it was asked to run with two seconds, and refuses cuDNN. */
  private static final String PEER =
      """
      while read -r line; do
        echo "$line" >> "$1"
        case $line in
          *'"run"'*) n=${line##*:}; n=${n%%\\}*}; s=2; while [ $n -gt 1 ]; do s="$s,2"; n=$((n-1)); done
            echo "{\\"seconds\\":[$s]}" ;;
          *cudnn*) echo '{"error":"no cuDNN"}' ;;
          *) echo '{"ready":true}' ;;
        esac
      done
      """;

  @TempDir Path folder;

  @Test
  void everyCase_isMeasured() {
    try (Device cpu = Device.cpu(1)) {
      List<Supplier<SpeedCase>> all = new ArrayList<>(SpeedSuite.SMALL.kernels(cpu));
      all.addAll(SpeedSuite.SMALL.models(cpu));
      SpeedBench bench = new SpeedBench(cpu, LIMITS, null, 1e-3);
      Set<String> names = new HashSet<>();
      for (Supplier<SpeedCase> supplier : all) {
        try (SpeedCase one = supplier.get()) {
          SpeedResult result = bench.measure(one);
          assertThat(names.add(one.name() + one.shape())).as(one.name()).isTrue();
          assertThat(result.seconds()).as(one.name()).isPositive().isLessThan(1);
          assertThat(result.limitSeconds()).as(one.name()).isPositive();
          assertThat(one.peers()).as(one.name()).isNotEmpty();
          assertThat(result.json().toString()).doesNotContain("NaN");
        }
      }
      assertThat(names).hasSameSizeAs(all).hasSizeGreaterThan(20);
    }
  }

  /** A peer's turn lies between Graft's; what it cannot do is told, and the others go on. */
  @Test
  void peers_areAskedInTurn() throws IOException {
    Path script = Files.writeString(folder.resolve("peer.sh"), PEER);
    Path asked = folder.resolve("asked");
    try (Device cpu = Device.cpu(1);
        PyTorchPeer peer = new PyTorchPeer(List.of("sh", script.toString(), asked.toString()));
        KernelRun run =
            new KernelRuns(cpu, 3)
                .attention(
                    1, 20, 1, 32, true, 0, true, AttentionEngine.BASE, List.of("flash", "cudnn"))) {
      SpeedResult result = new SpeedBench(cpu, LIMITS, peer, 1e-3).measure(run);
      assertThat(result.peers()).isEqualTo(Map.of("PyTorch flash", 2.0));
      assertThat(result.refused()).containsOnlyKeys("PyTorch cudnn");
      assertThat(result.ratio()).isGreaterThan(1);
    }
    ObjectNode first = Json.parseObject(asked, Files.readAllLines(asked).get(0).getBytes());
    assertThat(first.at("/prepare/backend").asText()).isEqualTo("flash");
    assertThat(first.at("/prepare/repeat").asInt()).isEqualTo(3);
    assertThat(first.at("/prepare/dtype").asText()).isEqualTo("bf16");
  }

  /** FLOPs of causal attention are half of all pairs'; the limit is the larger of both bounds. */
  @Test
  void work_isCounted() {
    try (Device cpu = Device.cpu(1)) {
      KernelRuns runs = new KernelRuns(cpu, 1);
      try (KernelRun one =
              runs.attention(2, 10, 3, 32, true, 0, true, AttentionEngine.BASE, List.of());
          KernelRun norm = runs.addNorm(4, 32, false);
          KernelRun adamw = runs.adamw(new int[] {100, 28})) {
        assertThat(one.flops()).isEqualTo(14 * 2 * 50 * 3 * 32.0);
        assertThat(norm.bytes()).isEqualTo(4 * 4 * 32 * 2.0);
        assertThat(adamw.bytes()).isEqualTo(38 * 128.0);
        SpeedResult result = new SpeedBench(cpu, LIMITS, null, 1e-3).measure(one);
        assertThat(result.limitSeconds()).isEqualTo(one.flops() / LIMITS.flops(DType.BFLOAT16));
      }
    }
  }

  @Test
  void limits_areMeasured() {
    try (Device cpu = Device.cpu(1)) {
      DeviceLimits limits = DeviceLimits.measure(cpu, DeviceLimits.Size.SMALL);
      assertThat(limits.bytesPerSecond()).isBetween(1e8, 1e13);
      assertThat(limits.flopsFp32()).isBetween(1e7, 1e14);
      assertThat(limits.flopsBf16()).isBetween(1e6, 1e14);
    }
  }
}
