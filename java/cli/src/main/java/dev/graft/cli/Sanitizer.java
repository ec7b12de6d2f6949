package dev.graft.cli;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** NVIDIA's compute-sanitizer, which looks for wrong uses of a card's memory and barriers. */
final class Sanitizer {
  /** Its tools. */
  static final List<String> TOOLS = List.of("memcheck", "racecheck", "initcheck", "synccheck");

  /** How a program that it found fault with ends. */
  private static final int FAULT = 86;

  private Sanitizer() {}

  /** The program of this machine: of the path, of CUDA's variables, or of the usual places. */
  static Optional<Path> find() {
    return find(System.getenv(), Path.of("/usr/local/cuda/bin"));
  }

  static Optional<Path> find(Map<String, String> environment, Path usual) {
    List<Path> places = new ArrayList<>();
    for (String variable : List.of("CUDA_PATH", "CUDA_HOME")) {
      if (environment.containsKey(variable)) {
        places.add(Path.of(environment.get(variable), "bin"));
      }
    }
    for (String folder : environment.getOrDefault("PATH", "").split(File.pathSeparator)) {
      if (!folder.isEmpty()) {
        places.add(Path.of(folder));
      }
    }
    places.add(usual);
    return places.stream()
        .map(folder -> folder.resolve("compute-sanitizer"))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /** The command that runs a program under one of its tools. */
  static List<String> command(Path sanitizer, String tool) {
    return List.of(
        sanitizer.toString(), "--tool", tool, "--error-exitcode", Integer.toString(FAULT));
  }
}
