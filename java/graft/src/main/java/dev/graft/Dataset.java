package dev.graft;

import dev.graft.data.Columns;
import dev.graft.data.LabelCells;
import dev.graft.data.LabelSet;
import dev.graft.data.LabelledData;
import dev.graft.data.LabelledExample;
import dev.graft.data.LabelledSource;
import dev.graft.io.InvalidInputException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Texts with labels, from memory, from CSV, TSV, JSON Lines or Parquet files, or from SQL. A
 * streamed set is read anew each time it is used, one example in memory at a time.
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
  private final LabelledSource source;
  private final Columns columns;
  private LabelCells cells = LabelCells.COMMA;

  private Dataset(
      String name, List<LabelledExample> examples, LabelledSource source, Columns columns) {
    this.name = name;
    this.examples = examples;
    this.source = source;
    this.columns = columns;
  }

  private Dataset(String name, List<LabelledExample> examples) {
    this(name, List.copyOf(examples), null, null);
    if (examples.isEmpty()) {
      throw new InvalidInputException(name + ": there are no examples in it");
    }
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
   * A file; its ending (.csv, .tsv, .jsonl, .parquet) says how it is read.
   *
   * @throws InvalidInputException naming file, line and cause
   */
  public static Dataset fromFile(Path file, Columns columns) {
    return new Dataset(file.toString(), LabelledData.read(file, columns));
  }

  /** A file that may be larger than memory; it is read when it is used. */
  public static Dataset streamed(Path file, Columns columns) {
    if (!Files.isRegularFile(file)) {
      throw InvalidInputException.of(file, "no such file");
    }
    return streamed(LabelledSource.of(file), columns);
  }

  /**
   * The rows of one SELECT statement, by DuckDB (module graft-duckdb), for example {@code SELECT
   * text, label FROM 'reviews/*.parquet' WHERE stars <> 3}. Nothing is written, installed or
   * fetched.
   *
   * @param database a DuckDB file to read from, or null
   * @throws InvalidInputException if it is anything but one SELECT, or cannot be run
   */
  public static Dataset fromSql(String sql, Path database, Columns columns) {
    return from(LabelledSource.of(sql, database), columns);
  }

  /** A file or a query, read now. */
  public static Dataset from(LabelledSource source, Columns columns) {
    return new Dataset(source.toString(), streamed(source, columns).examples());
  }

  /** A file or a query, read when it is used; it may be larger than memory. */
  public static Dataset streamed(LabelledSource source, Columns columns) {
    return new Dataset(source.toString(), null, source, columns);
  }

  /** What messages call it: its file. */
  public String name() {
    return name;
  }

  /** Hands on each example, in order. */
  public void forEach(Consumer<LabelledExample> sink) {
    if (examples != null) {
      examples.forEach(sink);
    } else {
      LabelledData.forEach(source, columns, sink);
    }
  }

  /** How many examples; a streamed set is read to count them. */
  public int size() {
    return examples().size();
  }

  /** All examples; a streamed set is read into memory. */
  public List<LabelledExample> examples() {
    if (examples != null) {
      return examples;
    }
    List<LabelledExample> read = new ArrayList<>();
    forEach(read::add);
    return read;
  }

  /**
   * Its classes, sorted by number if all are numbers, else by name.
   *
   * @throws InvalidInputException if an example has no label, or all have the same
   */
  public LabelSet labels() {
    return LabelSet.of(this::forEach, name);
  }

  /**
   * Its labels where an example may have several: their columns in order, or what stands in the
   * cells, sorted; see {@link LabelCells}.
   *
   * @throws InvalidInputException if there is none
   */
  public LabelSet allLabels() {
    List<String> columns = labelColumns();
    if (!columns.isEmpty()) {
      return new LabelSet(columns);
    }
    TreeSet<String> names = new TreeSet<>();
    forEach(example -> names.addAll(cells.labels(example, name)));
    if (names.isEmpty()) {
      throw new InvalidInputException(name + ": no example has a label");
    }
    return new LabelSet(List.copyOf(names));
  }

  /** Numbers an example has, by its first: outputs of a regression. */
  public int outputs() {
    return cells.numbers(first(), name).length;
  }

  /**
   * What its numbers are called, as many as the first example has: their columns, otherwise {@code
   * LABEL_0} and so on, as the reference implementation names outputs without a name.
   */
  public List<String> outputNames() {
    List<String> columns = labelColumns();
    return columns.isEmpty()
        ? IntStream.range(0, outputs()).mapToObj(i -> "LABEL_" + i).toList()
        : columns;
  }

  /** Its several columns of labels or numbers, by the first example; empty if it has none. */
  private List<String> labelColumns() {
    return List.copyOf(first().cells().keySet());
  }

  private LabelledExample first() {
    LabelledExample[] first = {null};
    forEach(example -> first[0] = first[0] == null ? example : first[0]);
    return first[0];
  }

  /** How the several labels or numbers of an example are written. */
  public LabelCells cells() {
    return cells;
  }

  /** The same set with another separator between several labels; a comma unless it is said. */
  public Dataset withLabelSeparator(String separator) {
    Dataset other = new Dataset(name, examples, source, columns);
    other.cells = new LabelCells(separator);
    return other;
  }

  /** Cuts it in two at random, whatever the labels. */
  public Split splitAtRandom(double validationShare, long seed) {
    List<LabelledExample> all = new ArrayList<>(examples());
    Collections.shuffle(all, new Random(seed));
    int held = (int) Math.max(1, Math.round(validationShare * all.size()));
    if (!(validationShare > 0 && validationShare < 1) || held >= all.size()) {
      throw new InvalidInputException(
          name + ": " + all.size() + " examples cannot be cut by a share of " + validationShare);
    }
    return new Split(
        part(" (training part)", all.subList(held, all.size())),
        part(" (validation part)", all.subList(0, held)));
  }

  private Dataset part(String suffix, List<LabelledExample> of) {
    Dataset part = new Dataset(name + suffix, of);
    part.cells = cells;
    return part;
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
    for (LabelledExample example : examples()) {
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
    if (validation.isEmpty()) {
      throw new InvalidInputException(
          name
              + ": too few examples of each class to hold back "
              + validationShare
              + " of them for validation");
    }
    return new Split(
        new Dataset(name + " (training part)", train),
        new Dataset(name + " (validation part)", validation));
  }

  /**
   * Draws as many examples of each class; another seed, other examples.
   *
   * @param perClass into the first part
   * @param validationPerClass others, into the second; at least 1
   * @throws InvalidInputException if a class has fewer than both together
   */
  public Split perClass(int perClass, int validationPerClass, long seed) {
    Map<String, List<LabelledExample>> byLabel = new TreeMap<>();
    for (LabelledExample example : examples()) {
      byLabel.computeIfAbsent(String.valueOf(example.label()), k -> new ArrayList<>()).add(example);
    }
    Random random = new Random(seed);
    List<LabelledExample> few = new ArrayList<>();
    List<LabelledExample> others = new ArrayList<>();
    byLabel.forEach(
        (label, all) -> {
          if (all.size() < perClass + validationPerClass) {
            throw new InvalidInputException(
                String.format(
                    "%s: %s has %,d examples, fewer than %,d to train on and %,d to judge by",
                    name, label, all.size(), perClass, validationPerClass));
          }
          Collections.shuffle(all, random);
          few.addAll(all.subList(0, perClass));
          others.addAll(all.subList(perClass, perClass + validationPerClass));
        });
    return new Split(
        new Dataset(name + " (training part)", few),
        new Dataset(name + " (validation part)", others));
  }

  /** The first examples of it. */
  public Dataset head(int count) {
    return new Dataset(name, examples().stream().limit(count).toList());
  }
}
