package dev.graft.verify;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import org.junit.jupiter.api.Test;

class StepSpeedTest {
  /** Nothing to compare with, but a step that computes less must not be slower by far. */
  @Test
  void tokensPerSecond_fallWithTheModelsSize() {
    try (Device cpu = Device.cpu()) {
      double small =
          StepSpeed.tokensPerSecond(
              cpu, Gpt2Config.of(97, 64, 32, 1, 2), Task.CAUSAL_LM, 4, 64, DType.FLOAT32, 5);
      double large =
          StepSpeed.tokensPerSecond(
              cpu, Gpt2Config.of(97, 64, 256, 6, 4), Task.CAUSAL_LM, 4, 64, DType.FLOAT32, 5);
      assertThat(large).isPositive().isLessThan(small);
      assertThat(
              StepSpeed.tokensPerSecond(
                  cpu,
                  BertConfig.of(97, 64, 32, 1, 2, 64),
                  Task.MASKED_LM,
                  4,
                  64,
                  DType.FLOAT32,
                  3))
          .isPositive();
    }
  }
}
