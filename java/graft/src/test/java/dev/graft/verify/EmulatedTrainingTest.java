package dev.graft.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.Device;
import dev.graft.verify.StepCheck.Case;
import dev.graft.verify.StepCheck.Finding;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Whole training steps by the CUDA kernels, emulated; oracle and tolerance: {@link StepCheck}. */
class EmulatedTrainingTest {
  @BeforeAll
  static void library() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
  }

  @ParameterizedTest
  @EnumSource
  void steps_equalTheCpus(Case what) {
    try (Device device = Device.emulated()) {
      List<Finding> findings = StepCheck.compare(device, what);
      assertThat(findings).hasSizeGreaterThan(20).allMatch(Finding::right);
    }
  }

  /** The order of warps, lanes and blocks is another each time. */
  @Test
  void repeats_haveTheSameBits() {
    try (Device device = Device.emulated()) {
      assertThat(StepCheck.repeat(device, Case.GPT2_BF16_DROPOUT, 2)).isEmpty();
    }
  }

  /** The check itself: the CPU beside itself is right; it sees a difference of bf16. */
  @Test
  void cpuBesideItself_isRight() {
    try (Device cpu = Device.cpu()) {
      assertThat(StepCheck.compare(cpu, Case.GPT2_FP32_DROPOUT)).allMatch(f -> f.error() == 0);
      assertThat(StepCheck.compare(cpu, Case.GPT2_BF16_DROPOUT))
          .allMatch(Finding::right)
          .anyMatch(f -> f.error() > 0);
      assertThat(StepCheck.repeat(cpu, Case.BERT_CLASSIFICATION_BF16, 2)).isEmpty();
    }
  }
}
