package dev.graft.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.runtime.DType;
import org.junit.jupiter.api.Test;

/** How a head's rows are cut. */
class LogitsChunksTest {
  private static final long GIB = 1L << 30;

  /** The figures of docs/gpu.md: 16,384 tokens of GPT-2. */
  @Test
  void gpt2OnCards() {
    assertThat(rowsOnCard(141 * GIB)).isEqualTo(16_384);
    assertThat(rowsOnCard(80 * GIB)).isEqualTo(16_384);
    assertThat(rowsOnCard(24 * GIB)).isEqualTo(5_504); // three chunks
    assertThat(rowsOnCard(8 * GIB)).isEqualTo(2_368); // seven
    assertThat(rowsOnCard(0)).isEqualTo(4_096); // four
  }

  private static long rowsOnCard(long memory) {
    return LogitsChunks.rows(
        LogitsChunks.mostElements(false, memory, DType.BFLOAT16), 16_384, 50_304);
  }

  /** Never more elements than allowed, unless 64 rows alone are; never a chunk more than needed. */
  @Test
  void chunks_areEven_andAsFewAsPossible() {
    for (long columns : new long[] {64, 97, 30_592, 50_304, 1 << 20}) {
      for (long rows = 1; rows < 40_000; rows = rows * 3 / 2 + 1) {
        for (long most : new long[] {1 << 10, 1 << 24, 1 << 28}) {
          long chunk = LogitsChunks.rows(most, rows, columns);
          long least = Math.max(64, most / columns / 64 * 64);
          assertThat(chunk % 64).isZero();
          assertThat(chunk).isLessThanOrEqualTo(least);
          long chunks = (rows + chunk - 1) / chunk;
          assertThat(chunks).isLessThanOrEqualTo((rows + least - 1) / least);
          long last = rows - (chunks - 1) * chunk;
          assertThat(chunk - last).as("%d rows, %d at once", rows, chunk).isLessThan(64 * chunks);
        }
      }
    }
  }
}
