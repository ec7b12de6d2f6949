package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class BatchTest {
  /** Oracle: Arrays.sort, which is stable, and plain loops. */
  @Test
  void bucketsTailsAndOrders() {
    Random random = new Random(11);
    for (int n = 0; n < 300; n++) {
      int longest = 1 + random.nextInt(200);
      int sequences = 1 + random.nextInt(6);
      Batch batch = new Batch(sequences * longest, sequences, longest).begin();
      int rows = 0;
      int labels = 0;
      for (int s = 0; s < sequences; s++) {
        batch.beginSequence(s % 2 == 0 ? s : Batch.IGNORED);
        int length = random.nextInt(longest + 1);
        for (int i = 0; i < length; i++) {
          int label = random.nextInt(3) == 0 ? 7 : Batch.IGNORED;
          labels += label == 7 ? 1 : 0;
          batch.addToken(random.nextInt(40), i, i % 2, label);
        }
        rows += length;
      }
      batch.finish();
      assertThat(batch.liveTokens).isEqualTo(rows);
      assertThat(batch.liveSequences).isEqualTo(sequences);
      assertThat(batch.tokens % Batch.TOKEN_BUCKET).isZero();
      assertThat(batch.tokens - Math.max(1, rows)).isBetween(0, Batch.TOKEN_BUCKET - 1);
      assertThat(batch.sequences).isLessThanOrEqualTo(batch.maxSequences());
      assertThat(batch.labelCount()).isEqualTo(labels);
      assertThat(batch.sequenceLabelCount()).isEqualTo((sequences + 1) / 2);
      assertThat(batch.maskedCount % Batch.MASK_BUCKET).isZero();
      int masked = 0;
      for (int s = 0; s < batch.sequences; s++) {
        int length = batch.cuSeqlens[s + 1] - batch.cuSeqlens[s];
        assertThat(length).isBetween(s < sequences ? 0 : 1, longest);
        for (int row = batch.cuSeqlens[s]; row < batch.cuSeqlens[s + 1]; row++) {
          assertThat(batch.positionIds[row]).isEqualTo(row - batch.cuSeqlens[s]);
          if (s >= sequences) {
            assertThat(batch.labels[row]).isEqualTo(Batch.IGNORED);
          } else if (batch.labels[row] != Batch.IGNORED) {
            assertThat(batch.maskedRows[masked]).isEqualTo(row);
            assertThat(batch.maskedLabels[masked++]).isEqualTo(7);
          }
        }
        assertThat(batch.firstRows[s])
            .isEqualTo(s < sequences && length > 0 ? batch.cuSeqlens[s] : -1);
      }
      for (int i = masked; i < batch.maskedCount; i++) {
        assertThat(batch.maskedRows[i]).isEqualTo(-1);
        assertThat(batch.maskedLabels[i]).isEqualTo(Batch.IGNORED);
      }
      assertThat(batch.cuSeqlens[batch.sequences]).isEqualTo(batch.tokens);
      assertThat(batch.cuSeqlens[batch.maxSequences()]).isEqualTo(batch.tokens);
      Integer[] order = new Integer[batch.tokens];
      Arrays.setAll(order, i -> i);
      Arrays.sort(order, (a, b) -> Integer.compare(batch.inputIds[a], batch.inputIds[b]));
      for (int i = 0; i < order.length; i++) {
        assertThat(batch.tokenOrder[i]).isEqualTo(order[i]);
      }
    }
  }

  @Test
  void emptySequencesFillNothing() {
    Batch batch = new Batch(4, 2, 100).begin();
    batch.beginSequence(3);
    batch.beginSequence(4);
    batch.finish();
    assertThat(batch.liveTokens).isZero();
    assertThat(batch.tokens).isEqualTo(128);
    assertThat(batch.firstRows[0]).isEqualTo(-1);
    assertThat(batch.sequenceLabelCount()).isEqualTo(2);
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Batch batch = new Batch(10, 1, 5).begin();
    batch.beginSequence(0);
    for (int i = 0; i < 5; i++) {
      batch.addToken(1, i, 0, 1);
    }
    assertThatThrownBy(() -> batch.addToken(1, 5, 0, 1)).isInstanceOf(IllegalStateException.class);
    Batch negative = new Batch(10, 1, 5).begin();
    negative.beginSequence(0);
    negative.addToken(-3, 0, 0, 1);
    assertThatThrownBy(negative::finish).hasMessageContaining("row 0 has the negative id -3");
    assertThatThrownBy(() -> new Batch(0, 1, 1)).isInstanceOf(IllegalArgumentException.class);
  }
}
