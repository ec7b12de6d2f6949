package dev.graft;

import dev.graft.data.Columns;
import dev.graft.data.LabelSet;
import dev.graft.data.LabelledData;
import dev.graft.data.LabelledExample;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Texts with labels, from memory or from CSV, TSV or JSON Lines files.
 *
 * <pre>
 *   Dataset.fromFile("train.csv")                                      // columns text and label
 *   Dataset.fromFile(Path.of("pairs.tsv"), new Columns("q1", "q2", "same", true))
 *   Dataset.of(List.of("good", "bad"), List.of("positive", "negative"))
 * </pre>
 */
public final class Dataset {
  private final String name;
  private final List<LabelledExample> examples;

  private Dataset(String name, List<LabelledExample> examples) {
    if (examples.isEmpty()) {
      throw new InvalidInputException(name + ": there are no examples in it");
    }
    this.name = name;
    this.examples = List.copyOf(examples);
  }

  /** Examples in memory. */
  public static Dataset of(List<LabelledExample> examples) {
    return new Dataset("the data set", examples);
  }

  /** Texts and the label of each. */
  public static Dataset of(List<String> texts, List<String> labels) {
    if (texts.size() != labels.size()) {
      throw new InvalidInputException(
          "the data set: " + texts.size() + " texts but " + labels.size() + " labels");
    }
    List<LabelledExample> examples = new ArrayList<>(texts.size());
    for (int i = 0; i < texts.size(); i++) {
      examples.add(new LabelledExample(texts.get(i), labels.get(i)));
    }
    return of(examples);
  }

  /** A file with its columns under their usual names. */
  public static Dataset fromFile(String file) {
    return fromFile(Path.of(file));
  }

  /** A file with its columns under their usual names: text, label, text_b and the like. */
  public static Dataset fromFile(Path file) {
    return fromFile(file, Columns.detect());
  }

  /**
   * A file; its ending (.csv, .tsv, .jsonl) says how it is read.
   *
   * @throws InvalidInputException naming file, line and cause
   */
  public static Dataset fromFile(Path file, Columns columns) {
    return new Dataset(file.toString(), LabelledData.read(file, columns));
  }

  /** What messages call it: its file. */
  public String name() {
    return name;
  }

  public int size() {
    return examples.size();
  }

  public List<LabelledExample> examples() {
    return examples;
  }

  /**
   * Its classes, sorted by number if all are numbers, else by name.
   *
   * @throws InvalidInputException if an example has no label, or all have the same
   */
  public LabelSet labels() {
    return LabelSet.of(examples, name);
  }

  /** The first and second part of a split. */
  public record Split(Dataset train, Dataset validation) {}

  /**
   * Cuts it in two at random, each label apart, so that both parts have the same mix.
   *
   * @param validationShare part of each label's examples that goes into the second
   */
  public Split split(double validationShare, long seed) {
    if (!(validationShare > 0 && validationShare < 1)) {
      throw new IllegalArgumentException(
          "validationShare: expected (0, 1), got " + validationShare);
    }
    Map<String, List<LabelledExample>> byLabel = new LinkedHashMap<>();
    for (LabelledExample example : examples) {
      byLabel.computeIfAbsent(String.valueOf(example.label()), k -> new ArrayList<>()).add(example);
    }
    Random random = new Random(seed);
    List<LabelledExample> train = new ArrayList<>();
    List<LabelledExample> validation = new ArrayList<>();
    for (List<LabelledExample> group : byLabel.values()) {
      Collections.shuffle(group, random);
      int held = (int) Math.round(validationShare * group.size());
      validation.addAll(group.subList(0, held));
      train.addAll(group.subList(held, group.size()));
    }
    return new Split(
        new Dataset(name + " (training part)", train),
        new Dataset(name + " (validation part)", validation));
  }

  /** The first examples of it. */
  public Dataset head(int count) {
    return new Dataset(name, examples.subList(0, Math.min(count, examples.size())));
  }
}
