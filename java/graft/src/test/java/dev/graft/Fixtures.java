package dev.graft;

import dev.graft.data.LabelledExample;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.text.CharTrainer;
import dev.graft.text.Tokenizer;
import dev.graft.train.Schedule;
import dev.graft.train.TrainingOptions;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Small texts and models that learn in seconds. */
final class Fixtures {
  private static final String[] GOOD = {"lovely", "great", "splendid", "charming"};
  private static final String[] BAD = {"awful", "dull", "dreadful", "tedious"};
  private static final String[] THINGS = {"film", "book", "play", "song", "meal", "hotel"};
  private static final String[] FRAMES = {
    "the %s was %s", "what a %2$s %1$s", "a %2$s %1$s , really"
  };

  private Fixtures() {}

  /** Sentences of two classes that one word tells apart. */
  static Dataset reviews(int count, long seed) {
    Random random = new Random(seed);
    List<LabelledExample> examples = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      boolean good = i % 2 == 0;
      String[] words = good ? GOOD : BAD;
      examples.add(
          new LabelledExample(
              String.format(
                  FRAMES[random.nextInt(FRAMES.length)],
                  THINGS[random.nextInt(THINGS.length)],
                  words[random.nextInt(words.length)]),
              good ? "positive" : "negative"));
    }
    return Dataset.of(examples);
  }

  /** Their texts, a line each. */
  static Path text(Path folder, int lines) {
    List<String> texts = reviews(lines, 7).examples().stream().map(LabelledExample::text).toList();
    return write(folder.resolve("text.txt"), String.join("\n", texts) + "\n");
  }

  static Path write(Path file, String text) {
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      return Files.writeString(file, text);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  static BertTokenizer bertTokenizer(Path folder) {
    return BertTokenizer.train(List.of(text(folder, 200)), 90, true);
  }

  static Tokenizer charTokenizer(Path folder) {
    return CharTrainer.train(List.of(text(folder, 200)), 0);
  }

  /** One CPU thread: networks of this size are not worth more. */
  static ModelOptions small() {
    return ModelOptions.defaults().withThreads(1);
  }

  static BertConfig bert() {
    return BertConfig.of(1, 32, 32, 2, 2, 64);
  }

  static Gpt2Config gpt2() {
    return Gpt2Config.of(1, 32, 32, 2, 2);
  }

  /** Steps enough for these sizes, at a rate for networks without pretraining. */
  static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning()
        .steps(steps)
        .learningRate(3e-3)
        .schedule(Schedule.CONSTANT)
        .warmupSteps(0);
  }

  /** A model of the test resources. */
  static Path model(String name) {
    try {
      return Path.of(Fixtures.class.getResource("/models/" + name + "/config.json").toURI())
          .getParent();
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }
}
