package dev.graft.quickstart;

import dev.graft.Dataset;
import dev.graft.data.Columns;
import dev.graft.data.LabelledData;
import dev.graft.data.LabelledExample;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * Banking77: questions to a bank in 77 intents, 10,003 to train and 3,080 to test (Casanueva et
 * al., "Efficient Intent Detection with Dual Sentence Encoders", arXiv:2003.04807; CC BY 4.0).
 *
 * @param train its training questions, less those that are in the test set, too, and repetitions;
 *     white space of any kind is one blank
 * @param test all of its test questions
 * @param labels its intents, sorted
 */
record Banking77(List<LabelledExample> train, List<LabelledExample> test, List<String> labels) {

  /** Unpacks the set into {@code folder} and reads it. */
  static Banking77 load(Path folder) {
    List<LabelledExample> test = read("banking77-test", folder);
    Set<String> seen = new HashSet<>();
    test.forEach(example -> seen.add(key(example)));
    List<LabelledExample> train = new ArrayList<>();
    for (LabelledExample example : read("banking77-train", folder)) {
      if (seen.add(key(example))) {
        train.add(example);
      }
    }
    return new Banking77(
        List.copyOf(train),
        test,
        train.stream().map(LabelledExample::label).distinct().sorted().toList());
  }

  private static List<LabelledExample> read(String name, Path folder) {
    Path file = Corpora.unpack(name + ".csv.gz", folder.resolve(name + ".csv"));
    return LabelledData.read(file, Columns.of("text", "category")).stream()
        .map(e -> new LabelledExample(e.text().strip().replaceAll("\\s+", " "), e.label()))
        .toList();
  }

  /** What makes two questions the same to a model that knows no upper case. */
  static String key(LabelledExample example) {
    return example.text().toLowerCase(Locale.ROOT);
  }

  /**
   * A few labelled questions, as many of each intent.
   *
   * @param train to fine-tune on
   * @param validation others, to choose the learning rate by
   */
  record FewLabels(List<LabelledExample> train, List<LabelledExample> validation) {}

  /** Draws a few of each intent; another seed, other questions. */
  FewLabels fewLabels(int perClass, int validationPerClass, long seed) {
    Dataset.Split drawn = Dataset.of(train).perClass(perClass, validationPerClass, seed);
    return new FewLabels(drawn.train().examples(), drawn.validation().examples());
  }
}
