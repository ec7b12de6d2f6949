package dev.graft.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.data.Batch;
import dev.graft.io.InvalidInputException;
import dev.graft.model.BertConfig;
import dev.graft.model.EvalStep;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class MaskFillerTest {
  /** Oracle: softmax of the logits at the mask, in double, sorted by value. */
  @Test
  void wordsOfEachMaskByProbability() {
    try (Device device = Device.cpu();
        Tokenizer tokenizer =
            WordPieceTrainer.train(
                Path.of("words"), List.of("the cat sat on the mat ".repeat(9)), 40, 1, true);
        Network network =
            Network.create(
                device,
                BertConfig.of(tokenizer.vocabSize(), 24, 32, 2, 2, 64),
                Task.MASKED_LM,
                DType.FLOAT32,
                5);
        MaskFiller filler = new MaskFiller(network, tokenizer)) {
      String text = "the [MASK] sat on the [MASK]";
      List<List<Prediction.Scored>> words = filler.fill(text, 3);
      Encoding encoding = tokenizer.encode(text, true);
      int[] rows =
          IntStream.range(0, encoding.length())
              .filter(i -> encoding.ids()[i] == tokenizer.maskId())
              .toArray();
      assertThat(rows).hasSize(2);
      assertThat(words).hasSize(2);
      Batch batch = new Batch(24, 1, 24).begin();
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < encoding.length(); i++) {
        batch.addToken(encoding.ids()[i], i, 0, Batch.IGNORED);
      }
      batch.finish();
      try (EvalStep step = new EvalStep(network, Limits.of(batch))) {
        float[][] logits = step.vocabularyLogits(batch, rows);
        for (int m = 0; m < 2; m++) {
          float[] x = logits[m];
          double sum = IntStream.range(0, x.length).mapToDouble(i -> Math.exp(x[i])).sum();
          int[] order =
              IntStream.range(0, x.length)
                  .boxed()
                  .sorted((a, b) -> Float.compare(x[b], x[a]))
                  .mapToInt(Integer::intValue)
                  .toArray();
          assertThat(words.get(m)).hasSize(3);
          for (int k = 0; k < 3; k++) {
            assertThat(words.get(m).get(k).name()).isEqualTo(tokenizer.token(order[k]));
            assertThat(words.get(m).get(k).probability())
                .isCloseTo(Math.exp(x[order[k]]) / sum, within(1e-9));
          }
        }
      }
      assertThat(filler.fill(text, 1000).get(0)).hasSize(tokenizer.vocabSize());
      assertThat(filler.fill(text, 3)).isEqualTo(words);
      assertThatThrownBy(() -> filler.fill("the cat", 3))
          .isInstanceOf(InvalidInputException.class)
          .hasMessage("the text has no mask: write [MASK] where a word is wanted");
      assertThatThrownBy(() -> filler.fill("[MASK] " + "cat ".repeat(30), 3))
          .isInstanceOf(InvalidInputException.class)
          .hasMessage("the text has 33 tokens, the model takes 24");
    }
  }
}
