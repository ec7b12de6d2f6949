package dev.graft.train;

import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * The folder of a run, held by one writer: {@code run.json}, {@code metrics.jsonl}, {@code
 * loss.png}, {@code checkpoints/}, {@code model/} (at the end) and {@code best/} (with evaluation).
 * The lock is the operating system's and goes with the process, however that ends.
 */
public final class RunDirectory implements AutoCloseable {
  private static final String LOCK = ".lock";

  private final Path path;
  private final FileChannel channel;

  private RunDirectory(Path path, FileChannel channel) {
    this.path = path;
    this.channel = channel;
  }

  /**
   * Takes the folder.
   *
   * @param resume expects a run there; otherwise none with checkpoints may be there
   * @throws InvalidInputException if another process or thread holds it, or it does not fit {@code
   *     resume}
   */
  public static RunDirectory open(Path directory, boolean resume) {
    Path path = directory.toAbsolutePath();
    if (resume && !Files.isRegularFile(path.resolve("run.json"))) {
      throw InvalidInputException.of(directory, "there is no run to resume (no run.json)");
    }
    FileChannel channel = null;
    try {
      Durable.createDirectories(path);
      channel =
          FileChannel.open(path.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      if (!lock(channel)) {
        throw InvalidInputException.of(directory, "another run is writing here");
      }
      if (!resume && !Durable.list(path.resolve("checkpoints")).isEmpty()) {
        throw InvalidInputException.of(
            directory, "holds a run with checkpoints; resume it or name another run directory");
      }
      RunDirectory opened = new RunDirectory(path, channel);
      channel = null;
      return opened;
    } catch (IOException e) {
      throw InvalidInputException.of(directory, e);
    } finally {
      if (channel != null) {
        closeQuietly(channel);
      }
    }
  }

  /**
   * Begins a run in a folder. If it fails before anything was trained, what it put there is taken
   * away again, and the folder too if it was not there before.
   *
   * @throws InvalidInputException if the folder holds a run, or another process or thread writes
   *     there
   */
  public static <T> T begin(Path directory, Supplier<T> run) {
    List<Path> fresh =
        Stream.of(LOCK, "settings.json", "tokenizer", "data")
            .map(directory::resolve)
            .filter(file -> !Files.exists(file))
            .toList();
    boolean existed = Files.exists(directory);
    open(directory, false).close();
    try {
      return run.get();
    } catch (RuntimeException | Error e) {
      if (!Files.exists(directory.resolve("run.json"))) {
        takeAway(fresh, existed ? null : directory);
      }
      throw e;
    }
  }

  /** Deletes files of a run, and its folder if that is given and empty then. */
  private static void takeAway(List<Path> files, Path directory) {
    try {
      for (Path file : files) {
        Durable.deleteTree(file);
      }
      if (directory != null && Durable.list(directory).isEmpty()) {
        Files.delete(directory);
      }
    } catch (IOException e) {
      // The failure that brought us here is the one to report.
    }
  }

  private static boolean lock(FileChannel channel) throws IOException {
    try {
      FileLock lock = channel.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false; // held by another thread of this process
    }
  }

  private static void closeQuietly(FileChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      // Nothing is written through it; the lock goes with the descriptor.
    }
  }

  public Path path() {
    return path;
  }

  Path runFile() {
    return path.resolve("run.json");
  }

  Path metrics() {
    return path.resolve("metrics.jsonl");
  }

  Path lossCurve() {
    return path.resolve("loss.png");
  }

  Path checkpoints() {
    return path.resolve("checkpoints");
  }

  /** Where the final model goes. */
  Path model() {
    return path.resolve("model");
  }

  /** Where a final adapter goes. */
  Path adapter() {
    return path.resolve("adapter");
  }

  /** Where the best model goes. */
  Path best() {
    return path.resolve("best");
  }

  @Override
  public void close() {
    closeQuietly(channel);
  }
}
