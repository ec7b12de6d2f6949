package dev.graft.io;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/**
 * A model on disk: {@code config.json}, {@code model.safetensors} and tokenizer files.
 *
 * @param path the directory
 */
public record ModelDirectory(Path path) {
  public static final String CONFIG = "config.json";
  public static final String WEIGHTS = "model.safetensors";

  /**
   * A directory by its path; that of a run stands for its {@code model/}. A name that is no
   * directory here, such as {@code bert-base-uncased}, ends in an exception that says what to do.
   */
  public static ModelDirectory resolve(String nameOrPath) {
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
    if (nameOrPath.matches("[A-Za-z0-9][\\w.-]*(/[\\w.-]+)?")) {
      throw InvalidInputException.of(
          path,
          "no such directory. If this is a model of a hub: this version does not download; fetch"
              + " config.json, model.safetensors and the tokenizer's files (tokenizer.json or"
              + " vocab.txt) into a directory and give its path");
    }
    throw InvalidInputException.of(path, "no such directory");
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
    return resolve(path.toString());
  }

  public Path file(String name) {
    return path.resolve(name);
  }

  /** The object of config.json. */
  public ObjectNode readConfig() {
    return Json.readObject(file(CONFIG));
  }

  /** The weights, opened. */
  public Safetensors weights() {
    return Safetensors.open(file(WEIGHTS));
  }
}
