package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.verify.SpeedResult;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A card's report, made up. */
class VerifyResultsTest {
  @TempDir Path folder;

  private static final SpeedResult KERNEL =
      new SpeedResult(
          "classifier",
          "bf16",
          "8x9",
          50e-6,
          0.02,
          4e8,
          0,
          40e-6,
          0,
          Map.of("PyTorch", 100e-6, "torch.compile", 75e-6),
          Map.of("cudnn", "no"));

  private static final SpeedResult MODEL =
      new SpeedResult(
          "GPT-2", "bf16", "2x4", 2e-3, 0.1, 0, 1e9, 1e-3, 8, Map.of("PyTorch", 1e-3), Map.of());

  @Test
  void aResult_knowsItsLimitAndItsFastestPeer() {
    assertThat(KERNEL.ofLimit()).isCloseTo(0.8, within(1e-12));
    assertThat(KERNEL.ratio()).isCloseTo(1.5, within(1e-12));
    assertThat(KERNEL.json().at("/peers_microseconds/torch.compile").asDouble()).isEqualTo(75.0);
    assertThat(KERNEL.json().at("/peers_refused/cudnn").asText()).isEqualTo("no");
    assertThat(MODEL.json().path("tokens_per_second").asDouble()).isEqualTo(4000);
    assertThat(VerifyResults.line(KERNEL))
        .contains("50.0 us, 80 % of the limit", "1.50 times torch.compile", "cudnn did not run");
    assertThat(VerifyResults.line(MODEL)).contains("2.00 ms", "4,000 tokens/s", "0.50 times");
  }

  /** A verification in several runs is one page; what is done again is done anew. */
  @Test
  void parts_ofEarlierRuns_stay() {
    ObjectNode first = report("abc");
    first.putObject("native_tests").put("passed", 7).put("failed", 1).put("skipped", 0);
    first.putObject("sanitizer").putObject("racecheck").put("passed", 3);
    VerifyResults.write(Optional.of(folder), first.put("passed", false), Json.object());

    ObjectNode second = report("abc").put("passed", true);
    second.putObject("repeats").put("passed", 2);
    ObjectNode earlier = VerifyResults.earlier(Optional.of(folder), second);
    assertThat(earlier.fieldNames()).toIterable().containsExactly("native_tests", "sanitizer");
    VerifyResults.write(Optional.of(folder), second, earlier);
    ObjectNode whole = Json.readObject(folder.resolve("h100-2026-01-02.json"));
    assertThat(whole.at("/repeats/passed").asInt()).isEqualTo(2);
    assertThat(whole.at("/sanitizer/racecheck/passed").asInt()).isEqualTo(3);
    assertThat(whole.path("passed").asBoolean()).as("its tests failed").isFalse();
    assertThat(folder.resolve("h100-2026-01-02.md"))
        .content()
        .contains("backend | 7 | 1 | 0 |", "same bits | 2 | 0 | 0 |", "**something failed**");

    earlier.remove("native_tests");
    VerifyResults.write(Optional.of(folder), second, earlier);
    whole = Json.readObject(folder.resolve("h100-2026-01-02.json"));
    assertThat(whole.path("passed").asBoolean()).isTrue();
    assertThat(VerifyResults.earlier(Optional.of(folder), report("def"))).isEmpty();
    assertThat(VerifyResults.earlier(Optional.empty(), second)).isEmpty();
  }

  private static ObjectNode report(String commit) {
    return Json.object().put("card", "H100").put("date", "2026-01-02").put("commit", commit);
  }

  @Test
  void thePage_hasTheFigures() {
    ObjectNode report =
        Json.object()
            .put("card", "NVIDIA H200 (141 GB)")
            .put("date", "2026-01-02")
            .put("device", "cuda:0")
            .put("memory_bytes", 141L << 30)
            .put("capability", "9.0")
            .put("driver", "13.0")
            .put("matrix_products", "cuBLASLt 13")
            .put("commit", "abc")
            .put("passed", true);
    report.putObject("sanitizer").putObject("racecheck").put("passed", 3);
    ObjectNode speed = report.putObject("speed");
    speed.putObject("limits").put("copy_bytes_per_second", 4e12).put("bf16_flops", 7e14);
    speed.putObject("pytorch").put("torch", "2.9").put("transformers", "5").put("device", "H200");
    speed.putArray("kernels").add(KERNEL.json());
    speed.putArray("models").add(MODEL.json());
    assertThat(VerifyResults.path(Path.of("r"), report))
        .isEqualTo(Path.of("r/nvidia-h200-141-gb-2026-01-02"));
    assertThat(VerifyResults.markdown(report))
        .contains(
            "# Verified on NVIDIA H200 (141 GB)",
            "141 GiB, compute capability 9.0",
            "commit abc, 2026-01-02; nothing failed",
            "| the same under compute-sanitizer racecheck | 3 | 0 | 0 |",
            "copy 4000 GB/s (read + write), products 700.0 TFLOP/s in bf16",
            "PyTorch 2.9, transformers 5, on H200",
            "| classifier | 8x9 | 50.0 | 2 % | 40.0 | 80 % |",
            "torch.compile 75.0",
            "cudnn failed | 1.50 |",
            "| GPT-2 | 2x4 | 2.0 | 10 % | 1.0 | 50 % | 4,000 | PyTorch 1.0 | 0.50 |");
  }
}
