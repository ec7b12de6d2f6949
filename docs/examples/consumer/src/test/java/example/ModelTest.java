package example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.graft.GPT2LMHeadModel;
import dev.graft.apply.GenerationOptions;
import dev.graft.model.Gpt2Config;
import dev.graft.text.BpeTrainer;
import dev.graft.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The models: a GPT-2 of one's own shape and vocabulary, saved, and the same when it comes back. */
class ModelTest {
  private static final int VOCABULARY = 300;
  private static final int POSITIONS = 32;
  private static final int CHANNELS = 32;

  @TempDir Path folder;

  @Test
  void aModel_writesTheSameWhenItComesBack() throws Exception {
    Path text = folder.resolve("text.txt");
    Files.writeString(text, "The quick brown fox jumps over the lazy dog. ".repeat(20));
    Path saved = folder.resolve("gpt");
    GenerationOptions options = GenerationOptions.greedy(8);
    String written;
    try (Tokenizer tokenizer = BpeTrainer.train(List.of(text), VOCABULARY, 2);
        GPT2LMHeadModel gpt =
            GPT2LMHeadModel.create(
                Gpt2Config.of(tokenizer.vocabSize(), POSITIONS, CHANNELS, 2, 2), tokenizer)) {
      written = gpt.generate("The quick", options);
      gpt.savePretrained(saved);
    }
    try (GPT2LMHeadModel again = GPT2LMHeadModel.fromPretrained(saved)) {
      assertEquals(written, again.generate("The quick", options));
    }
  }
}
