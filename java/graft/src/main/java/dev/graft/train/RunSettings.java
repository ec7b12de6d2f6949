package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Recompute;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;

/**
 * {@code settings.json} of a run directory: all the run was made of, so that a resume needs nothing
 * but the directory.
 */
public final class RunSettings {
  private static final String FILE = "settings.json";
  private static final String TRAINING = "training";
  private static final String RECOMPUTE = "recompute";

  private RunSettings() {}

  /** The file of a run. */
  public static Path file(Path runDirectory) {
    return runDirectory.resolve(FILE);
  }

  /**
   * The task a run was begun for, for example {@code "causal_lm"}.
   *
   * @throws InvalidInputException if there is no run
   */
  public static String task(Path runDirectory) {
    Path file = file(runDirectory);
    if (!Files.isRegularFile(file)) {
      throw InvalidInputException.of(runDirectory, "there is no run to resume (no " + FILE + ")");
    }
    return Json.readObject(file).path("task").asText();
  }

  /**
   * Begins a run whose settings are known: writes them, then trains; see {@link
   * RunDirectory#begin}.
   */
  public static <T> T begin(Path runDirectory, ObjectNode settings, Supplier<T> run) {
    return RunDirectory.begin(
        runDirectory,
        () -> {
          AtomicFiles.write(file(runDirectory), Json.pretty(settings));
          return run.get();
        });
  }

  /**
   * What a resumed run does not take from its settings: directory and callbacks, for {@link
   * OptionsJson#read}.
   *
   * @throws InvalidInputException if there is no run
   */
  public static TrainingOptions resumed(
      Path runDirectory, TrainingListener listener, CancellationToken cancellation) {
    task(runDirectory);
    return TrainingOptions.finetuning()
        .runDirectory(runDirectory)
        // Killed while its data were still being read, a run has trained nothing: it begins anew.
        .resume(Files.isRegularFile(runDirectory.resolve("run.json")))
        .listener(listener)
        .cancellation(cancellation)
        .build();
  }

  /**
   * Changes what a run computes again in its backward pass, from its next resume on: memory and
   * time, but no bit of the result; where {@link Recompute} has an exception the resume is refused.
   *
   * @throws InvalidInputException if there is no run, or its settings cannot be written
   */
  public static void recompute(Path runDirectory, Recompute level) {
    task(runDirectory);
    Path file = file(runDirectory);
    ObjectNode settings = Json.readObject(file);
    String name = level.name().toLowerCase(Locale.ROOT);
    if (settings.path(TRAINING) instanceof ObjectNode training
        && !training.path(RECOMPUTE).asText().equals(name)) {
      training.put(RECOMPUTE, name);
      AtomicFiles.write(file, Json.pretty(settings));
    }
  }

  /**
   * Refuses to go on with a run by other settings than it began with; what is computed again may
   * differ, see {@link #recompute}, and is taken over.
   *
   * @throws InvalidInputException naming everything that differs
   */
  public static void requireSame(Path runDirectory, ObjectNode settings) {
    task(runDirectory);
    Path file = file(runDirectory);
    ObjectNode before = Json.readObject(file);
    JsonNode wanted = settings.path(TRAINING).path(RECOMPUTE);
    boolean changes = before.path(TRAINING).has(RECOMPUTE) && wanted.isTextual();
    if (changes) {
      before.withObject(TRAINING).set(RECOMPUTE, wanted);
    }
    List<String> differences = new ArrayList<>();
    compare("", before, settings, differences);
    if (!differences.isEmpty()) {
      throw InvalidInputException.of(
          file,
          "a resumed run keeps the settings it began with, but " + String.join("; ", differences));
    }
    if (changes) {
      AtomicFiles.write(file, Json.pretty(before));
    }
  }

  private static void compare(String at, JsonNode before, JsonNode now, List<String> differences) {
    if (before.isObject() && now.isObject()) {
      Set<String> names = new TreeSet<>();
      before.fieldNames().forEachRemaining(names::add);
      now.fieldNames().forEachRemaining(names::add);
      for (String name : names) {
        String path = at.isEmpty() ? name : at + "." + name;
        compare(path, before.path(name), now.path(name), differences);
      }
    } else if (!text(before).equals(text(now))) {
      differences.add(at + " was " + text(before) + ", is " + text(now));
    }
  }

  private static String text(JsonNode node) {
    return node.isMissingNode() ? "not given" : node.toString();
  }
}
