package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The checkpoints of a run: directories {@code step-NNNNNNNN}, each with a {@code manifest.json}
 * that lists size and SHA-256 of every other file. The manifest is written last and the directory
 * is renamed into place when all of it is durable, so a directory of that name is complete unless
 * the disk lost bytes afterwards, and that the manifest shows.
 */
public final class CheckpointStore {
  static final String MANIFEST = "manifest.json";
  private static final int FORMAT = 1;
  private static final Pattern NAME = Pattern.compile("step-(\\d{8,18})");
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointStore.class);

  /** A complete checkpoint. */
  public record Checkpoint(Path directory, long step) {}

  private final Path directory;
  private final int keep;
  private final Set<Path> damaged = new HashSet<>();

  /**
   * @param directory the folder of the checkpoints; made when the first is saved
   * @param keep checkpoints kept, at least 2
   */
  public CheckpointStore(Path directory, int keep) {
    if (keep < 2) {
      throw new IllegalArgumentException("checkpoints: keep: expected at least 2, got " + keep);
    }
    this.directory = directory.toAbsolutePath();
    this.keep = keep;
  }

  /** Folder of a step's checkpoint. */
  public Path path(long step) {
    return directory.resolve(String.format("step-%08d", step));
  }

  /**
   * Saves a checkpoint and then deletes those that are no longer kept.
   *
   * @param fill writes the files into the folder it gets
   * @throws InvalidInputException naming the file if it cannot be written; older checkpoints stay
   */
  public Path save(long step, Consumer<Path> fill) {
    Path target = path(step);
    Durable.replaceDirectory(
        target,
        folder -> {
          fill.accept(folder);
          writeManifest(folder, step);
        });
    damaged.remove(target);
    prune();
    return target;
  }

  private static void writeManifest(Path folder, long step) {
    ObjectNode manifest = Json.object();
    manifest.put("format", FORMAT).put("step", step);
    ObjectNode files = manifest.putObject("files");
    try {
      for (Path file : Durable.list(folder)) {
        files
            .putObject(file.getFileName().toString())
            .put("bytes", Files.size(file))
            .put("sha256", Durable.sha256(file));
      }
    } catch (IOException e) {
      throw InvalidInputException.of(folder, e);
    }
    AtomicFiles.write(folder.resolve(MANIFEST), Json.pretty(manifest));
  }

  /** Folders with a checkpoint's name, newest first, complete or not. */
  List<Path> candidates() {
    List<Path> found = new ArrayList<>();
    try {
      for (Path entry : Durable.list(directory)) {
        if (NAME.matcher(entry.getFileName().toString()).matches()) {
          found.add(entry);
        }
      }
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    }
    found.sort(Comparator.comparingLong(CheckpointStore::step).reversed());
    return found;
  }

  private static long step(Path folder) {
    return Long.parseLong(folder.getFileName().toString().substring("step-".length()));
  }

  /**
   * The newest complete checkpoint; incomplete and damaged ones are passed over with a logged
   * reason.
   *
   * @return empty if the run has no checkpoint at all
   * @throws InvalidInputException naming each checkpoint and its damage if none is complete
   */
  public Optional<Checkpoint> newest() {
    List<String> reasons = new ArrayList<>();
    for (Path folder : candidates()) {
      Optional<String> damage = damage(folder);
      if (damage.isEmpty()) {
        return Optional.of(new Checkpoint(folder, step(folder)));
      }
      damaged.add(folder);
      reasons.add(folder.getFileName() + ": " + damage.get());
      LOG.warn("checkpoint {} is passed over: {}", folder, damage.get());
    }
    if (!reasons.isEmpty()) {
      throw InvalidInputException.of(
          directory, "no complete checkpoint is left: " + String.join("; ", reasons));
    }
    return Optional.empty();
  }

  /** What is wrong with a checkpoint, read in full; empty if it is complete. */
  public static Optional<String> damage(Path folder) {
    Path file = folder.resolve(MANIFEST);
    if (!Files.isRegularFile(file)) {
      return Optional.of("it has no " + MANIFEST);
    }
    try {
      ObjectNode manifest = Json.readObject(file);
      if (manifest.path("format").asInt(-1) != FORMAT) {
        return Optional.of(
            MANIFEST + ": expected format " + FORMAT + ", got " + manifest.path("format"));
      }
      if (manifest.path("step").asLong(-1) != step(folder)) {
        return Optional.of(MANIFEST + ": is of step " + manifest.path("step"));
      }
      if (!manifest.path("files").isObject() || manifest.path("files").isEmpty()) {
        return Optional.of(MANIFEST + ": lists no files");
      }
      Iterator<Map.Entry<String, JsonNode>> files = manifest.get("files").fields();
      while (files.hasNext()) {
        Map.Entry<String, JsonNode> entry = files.next();
        Optional<String> damage = damage(folder, entry.getKey(), entry.getValue());
        if (damage.isPresent()) {
          return damage;
        }
      }
      return Optional.empty();
    } catch (IOException | InvalidInputException e) {
      return Optional.of(e.getMessage());
    }
  }

  private static Optional<String> damage(Path folder, String name, JsonNode entry)
      throws IOException {
    // A manifest is data from outside: it may name files of its own folder only.
    if (name.isEmpty() || name.contains("/") || name.contains("\\") || name.startsWith("..")) {
      return Optional.of(MANIFEST + ": unsafe file name " + name);
    }
    Path file = folder.resolve(name);
    if (!Files.isRegularFile(file)) {
      return Optional.of(name + " is missing");
    }
    long bytes = entry.path("bytes").asLong(-1);
    if (Files.size(file) != bytes) {
      return Optional.of(
          String.format("%s has %,d bytes, expected %,d", name, Files.size(file), bytes));
    }
    return Durable.sha256(file).equals(entry.path("sha256").asText())
        ? Optional.empty()
        : Optional.of(name + " differs from its SHA-256");
  }

  /**
   * Deletes what is older than the newest {@code keep}; known damaged ones do not count as kept.
   */
  private void prune() {
    int good = 0;
    for (Path folder : candidates()) {
      if (damaged.contains(folder)) {
        continue;
      }
      good++;
      if (good > keep) {
        try {
          Durable.deleteDirectory(folder);
        } catch (IOException e) {
          LOG.warn("old checkpoint {} could not be deleted: {}", folder, e.toString());
        }
      }
    }
  }
}
