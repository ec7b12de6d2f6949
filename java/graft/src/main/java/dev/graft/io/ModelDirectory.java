package dev.graft.io;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/**
 * A model on disk: {@code config.json}, weights ({@link WeightSource}) and tokenizer files.
 *
 * @param path the directory
 */
public record ModelDirectory(Path path) {
  public static final String CONFIG = "config.json";

  /** What is written; {@link WeightSource#FILES} are read. */
  public static final String WEIGHTS = "model.safetensors";

  /**
   * A model by the path of its directory (a run's stands for its {@code model/}), or by its name on
   * a hub, {@code bert-base-uncased}, {@code org/name} or {@code org/name@revision}, which is
   * fetched into the cache if it is not there ({@link Hub}). A directory wins over a name.
   *
   * @throws InvalidInputException in one line if it is neither, or cannot be fetched
   */
  public static ModelDirectory resolve(String nameOrPath) {
    return resolve(nameOrPath, Hub.Part.MODEL);
  }

  /** As {@link #resolve(String)}, but of a hub's model only the files of a part must be there. */
  public static ModelDirectory resolve(String nameOrPath, Hub.Part part) {
    Path path;
    try {
      path = Path.of(nameOrPath);
    } catch (InvalidPathException e) {
      throw new InvalidInputException(nameOrPath + ": not a path: " + e.getReason(), e);
    }
    if (Files.isDirectory(path)) {
      return new ModelDirectory(ofRun(path));
    }
    if (Files.exists(path)) {
      throw InvalidInputException.of(path, "expected a model directory, this is a file");
    }
    if (path.isAbsolute()) {
      throw InvalidInputException.of(path, "no such directory");
    }
    String problem = HubName.problem(nameOrPath);
    if (problem != null) {
      throw new InvalidInputException(
          HubName.shown(nameOrPath)
              + ": no such directory, and no model's name on a hub: "
              + problem);
    }
    return new ModelDirectory(Hub.fromEnvironment().snapshot(HubName.parse(nameOrPath), part));
  }

  /** A run's directory stands for the model it ended with. */
  private static Path ofRun(Path path) {
    if (Files.exists(path.resolve(CONFIG)) || !Files.exists(path.resolve("run.json"))) {
      return path;
    }
    Path model = path.resolve("model");
    if (!Files.isDirectory(model)) {
      throw InvalidInputException.of(
          path,
          "is a run that has not ended: go on with it (--resume), or name one of the models in"
              + " checkpoints/");
    }
    return model;
  }

  public static ModelDirectory resolve(Path path) {
    return resolve(withSlashes(path));
  }

  public static ModelDirectory resolve(Path path, Hub.Part part) {
    return resolve(withSlashes(path), part);
  }

  /**
   * The path to write down for another day and working directory. A hub's model is that of the
   * commit in use, so that what is done again is done with the same weights.
   */
  public static Path lasting(Path model, Hub.Part part) {
    boolean directory = model.isAbsolute() || Files.isDirectory(model);
    return (directory ? model : resolve(model, part).path()).toAbsolutePath();
  }

  /** A name that went through a Path of Windows has lost its slash. */
  private static String withSlashes(Path path) {
    return path.toString().replace(path.getFileSystem().getSeparator(), "/");
  }

  public Path file(String name) {
    return path.resolve(name);
  }

  /** The object of config.json. */
  public ObjectNode readConfig() {
    return Json.readObject(file(CONFIG));
  }

  /** The weights, opened. */
  public WeightSource weights() {
    return WeightSource.open(path);
  }
}
