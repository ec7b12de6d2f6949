package dev.graft.runtime;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * NVIDIA's libraries on this machine, by their sonames: in a CUDA install, on the library path, in
 * the system's folders, and among Python's packages, in this order. Only what is in none of the
 * usual places is asked of {@code python3} itself, which may be of an environment that no variable
 * names.
 */
public final class CudaLibraries {
  /** The sonames a machine is asked for, of CUDA 13. */
  public static final String RUNTIME = "libcudart.so.13";

  public static final String CUBLAS = "libcublas.so.13";
  public static final String CUBLAS_LT = "libcublasLt.so.13";
  public static final String CUDNN = "libcudnn.so.9";

  private static final List<String> IN_A_TOOLKIT =
      List.of("lib64", "lib", "targets/x86_64-linux/lib");

  private static final long PYTHON_SECONDS = 10;

  private final Map<String, String> environment;
  private final Path root;
  private final Path home;
  private final Supplier<List<Path>> python;
  private List<Path> folders;
  private List<Path> asked;

  /**
   * @param environment of the process
   * @param root of the file system
   * @param home the user's folder
   * @param python the folders that python3 imports from
   */
  CudaLibraries(
      Map<String, String> environment, Path root, Path home, Supplier<List<Path>> python) {
    this.environment = environment;
    this.root = root;
    this.home = home;
    this.python = python;
  }

  /** Those of this machine. */
  public static CudaLibraries ofMachine() {
    return new CudaLibraries(
        System.getenv(),
        Path.of("/"),
        Path.of(System.getProperty("user.home")),
        CudaLibraries::importPath);
  }

  /** Where a library lies, for example {@link #CUBLAS_LT}; the first found wins. */
  public synchronized Optional<Path> find(String soname) {
    if (folders == null) {
      folders = folders();
    }
    Optional<Path> usual = find(folders, soname);
    if (usual.isPresent()) {
      return usual;
    }
    if (asked == null) {
      asked = librariesIn(python.get());
    }
    return find(asked, soname);
  }

  private static Optional<Path> find(List<Path> folders, String soname) {
    return folders.stream()
        .map(folder -> folder.resolve(soname))
        .filter(Files::isRegularFile)
        .findFirst();
  }

  private List<Path> folders() {
    Set<Path> found = new LinkedHashSet<>();
    for (String variable : List.of("CUDA_PATH", "CUDA_HOME")) {
      path(variable).ifPresent(toolkit -> addToolkit(found, toolkit));
    }
    for (String entry :
        environment.getOrDefault("LD_LIBRARY_PATH", "").split(File.pathSeparator, -1)) {
      if (!entry.isEmpty()) {
        found.add(Path.of(entry));
      }
    }
    addToolkit(found, root.resolve("usr/local/cuda"));
    // Of several versions the newest.
    List<Path> versions = list(root.resolve("usr/local"), "cuda-13");
    for (int i = versions.size() - 1; i >= 0; i--) {
      addToolkit(found, versions.get(i));
    }
    for (String folder : List.of("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib")) {
      found.add(root.resolve(folder));
    }
    path("CONDA_PREFIX").ifPresent(conda -> found.add(conda.resolve("lib")));
    found.addAll(librariesIn(pythonPackages()));
    return List.copyOf(found);
  }

  /** Where NVIDIA's Python packages have their libraries. */
  private static List<Path> librariesIn(List<Path> packages) {
    return packages.stream()
        .flatMap(folder -> list(folder.resolve("nvidia"), "").stream())
        .map(part -> part.resolve("lib"))
        .toList();
  }

  /** What python3 of the PATH imports from; nothing if there is none or it does not answer. */
  private static List<Path> importPath() {
    try {
      Process process =
          new ProcessBuilder("python3", "-c", "import sys; print('\\n'.join(sys.path))")
              .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      if (!process.waitFor(PYTHON_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        return List.of();
      }
      try (BufferedReader answer = process.inputReader()) {
        return answer.lines().filter(line -> line.startsWith("/")).map(Path::of).toList();
      }
    } catch (IOException | UncheckedIOException | InvalidPathException e) {
      return List.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return List.of();
    }
  }

  private static void addToolkit(Set<Path> found, Path toolkit) {
    IN_A_TOOLKIT.forEach(folder -> found.add(toolkit.resolve(folder)));
  }

  /** site-packages and dist-packages of the active environment, the user and the system. */
  private List<Path> pythonPackages() {
    List<Path> prefixes = new ArrayList<>();
    path("VIRTUAL_ENV").ifPresent(prefixes::add);
    path("CONDA_PREFIX").ifPresent(prefixes::add);
    prefixes.add(home.resolve(".local"));
    prefixes.add(root.resolve("usr/local"));
    prefixes.add(root.resolve("usr"));
    List<Path> packages = new ArrayList<>();
    for (Path prefix : prefixes) {
      for (Path python : list(prefix.resolve("lib"), "python3")) {
        packages.add(python.resolve("site-packages"));
        packages.add(python.resolve("dist-packages"));
      }
    }
    return packages;
  }

  private Optional<Path> path(String variable) {
    String value = environment.getOrDefault(variable, "");
    return value.isEmpty() ? Optional.empty() : Optional.of(Path.of(value));
  }

  /** The folders in one whose names begin so, in order; none if it cannot be read. */
  private static List<Path> list(Path folder, String begin) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .filter(entry -> entry.getFileName().toString().startsWith(begin))
          .filter(Files::isDirectory)
          .sorted()
          .toList();
    } catch (IOException | UncheckedIOException e) {
      return List.of();
    }
  }
}
