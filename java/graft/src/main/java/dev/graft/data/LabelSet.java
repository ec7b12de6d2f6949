package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;

/** Names of classes and their ids. */
public final class LabelSet {
  private final List<String> names;
  private final Map<String, Integer> ids = new HashMap<>();

  /** Classes in the order of their ids. */
  public LabelSet(List<String> names) {
    this.names = List.copyOf(names);
    for (int i = 0; i < names.size(); i++) {
      if (ids.put(names.get(i), i) != null) {
        throw new IllegalArgumentException("the class '" + names.get(i) + "' is named twice");
      }
    }
  }

  /** The classes of a set, sorted: by number if they all are numbers, else by name. */
  public static LabelSet of(Iterable<LabelledExample> examples, String source) {
    return of(examples::forEach, source);
  }

  /**
   * The classes of a set that is read once, sorted: by number if they all are numbers, else by
   * name.
   *
   * @param examples hands every example to the consumer it gets
   */
  public static LabelSet of(Consumer<Consumer<LabelledExample>> examples, String source) {
    TreeSet<String> names = new TreeSet<>();
    examples.accept(
        example -> {
          if (!example.cells().isEmpty()) {
            throw new InvalidInputException(
                source
                    + ": labels in several columns are multi-label classification or regression");
          }
          if (example.label() == null || example.label().isEmpty()) {
            throw new InvalidInputException(
                at(source, example.line()) + "an example has no label: " + shorten(example.text()));
          }
          if (example.label().startsWith("[") && example.label().endsWith("]")) {
            throw new InvalidInputException(
                at(source, example.line())
                    + "the label "
                    + shorten(example.label())
                    + " is an array; several labels an example are multi-label classification");
          }
          names.add(example.label());
        });
    if (names.size() < 2) {
      throw new InvalidInputException(source + ": expected at least two classes, got " + names);
    }
    boolean numbers = names.stream().allMatch(name -> name.matches("-?\\d{1,9}"));
    return new LabelSet(
        numbers
            ? names.stream().sorted(Comparator.comparingInt(Integer::parseInt)).toList()
            : List.copyOf(names));
  }

  private static String at(String source, long line) {
    return source + (line > 0 ? ": line " + line + ": " : ": ");
  }

  private static String shorten(String text) {
    return text.length() > 60 ? text.substring(0, 60) + "…" : text;
  }

  public List<String> names() {
    return names;
  }

  public int size() {
    return names.size();
  }

  public String name(int id) {
    return names.get(id);
  }

  /** The id of an example's class; {@code source} and line are named if there is none. */
  public int id(LabelledExample example, String source) {
    if (!example.cells().isEmpty()) {
      throw new InvalidInputException(
          source + ": one label was expected, not several columns " + example.cells().keySet());
    }
    return id(example.label(), source, example.line());
  }

  /** The id of a class; {@code source} is named if there is none. */
  public int id(String name, String source) {
    return id(name, source, 0);
  }

  private int id(String name, String source, long line) {
    Integer id = name == null ? null : ids.get(name);
    if (id == null) {
      throw new InvalidInputException(
          at(source, line)
              + "the label '"
              + name
              + "' is not one of the "
              + names.size()
              + " classes "
              + (names.size() > 100 ? names.subList(0, 100) + "…" : names));
    }
    return id;
  }
}
