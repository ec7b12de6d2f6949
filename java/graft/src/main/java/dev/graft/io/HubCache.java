package dev.graft.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One model's part of the cache, laid out as the hub's own Python client does, so that either finds
 * what the other fetched:
 *
 * <pre>
 *   models--org--name/refs/main                    the commit
 *   models--org--name/blobs/HASH                   a file's content, under its ETag
 *   models--org--name/snapshots/COMMIT/config.json -> ../../blobs/HASH
 *   .locks/models--org--name/HASH.lock
 * </pre>
 */
final class HubCache {
  /**
   * Locks of files are the process's; those of its threads are kept here. The Python client locks
   * by another system call: it writes under names of its own and renames, as we do, so that nothing
   * worse than a file fetched twice can come of it.
   */
  private static final ConcurrentHashMap<Path, ReentrantLock> THREADS = new ConcurrentHashMap<>();

  private final HubSettings settings;
  private final String folder;

  HubCache(HubSettings settings, HubName name) {
    this.settings = settings;
    this.folder = "models--" + name.repository().replace("/", "--");
  }

  private Path model() {
    return settings.cache().resolve(folder);
  }

  Path snapshot(String commit) {
    return model().resolve("snapshots").resolve(commit);
  }

  Path blob(HubFile file) {
    return model().resolve("blobs").resolve(file.etag());
  }

  Path incomplete(HubFile file) {
    return model().resolve("blobs").resolve(file.etag() + ".incomplete");
  }

  /** The commit a revision was last seen at, or null. */
  String commit(String revision) {
    if (HubName.isCommit(revision)) {
      return revision;
    }
    Path ref = model().resolve("refs").resolve(revision);
    if (!Files.isRegularFile(ref)) {
      return null;
    }
    try (var in = Files.newInputStream(ref)) {
      String commit = new String(in.readNBytes(100), "US-ASCII").strip();
      if (!HubName.isCommit(commit)) {
        throw InvalidInputException.of(
            ref, "expected a commit; delete the file to ask the hub again");
      }
      return commit;
    } catch (IOException e) {
      throw InvalidInputException.of(ref, e);
    }
  }

  void remember(String revision, String commit) {
    if (!HubName.isCommit(revision) && !commit.equals(commit(revision))) {
      AtomicFiles.write(model().resolve("refs").resolve(revision), commit);
    }
  }

  /** Lets one process and thread at a time write a file's content. */
  AutoCloseable lock(HubFile file) throws IOException {
    Path path = settings.cache().resolve(".locks").resolve(folder).resolve(file.etag() + ".lock");
    Files.createDirectories(path.getParent());
    ReentrantLock threads =
        THREADS.computeIfAbsent(path.toAbsolutePath(), key -> new ReentrantLock());
    threads.lock();
    FileChannel channel = null;
    try {
      channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      channel.lock();
    } catch (IOException | RuntimeException e) {
      threads.unlock();
      if (channel != null) {
        channel.close();
      }
      throw e;
    }
    FileChannel held = channel;
    return () -> {
      try {
        held.close();
      } finally {
        threads.unlock();
      }
    };
  }

  /**
   * Puts a file's content under its name in a snapshot: as a symbolic link, and where there are
   * none as the content itself.
   *
   * @param fresh whether the content was fetched for this and is nobody else's yet
   */
  void publish(HubFile file, String commit, boolean fresh) throws IOException {
    Path target = snapshot(commit).resolve(file.path());
    Path blob = blob(file);
    Files.createDirectories(target.getParent());
    Path temporary = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    try {
      if (!settings.symlinks() || !link(temporary, target.getParent().relativize(blob))) {
        if (fresh) {
          Files.move(blob, target, StandardCopyOption.ATOMIC_MOVE);
          return;
        }
        Files.copy(blob, temporary);
      }
      Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
    AtomicFiles.syncDirectory(target.getParent());
  }

  private static boolean link(Path link, Path target) throws IOException {
    try {
      Files.createSymbolicLink(link, target);
      return true;
    } catch (UnsupportedOperationException e) {
      return false;
    } catch (FileSystemException e) {
      // "Operation not permitted" is how a file system without links says so.
      if (Files.exists(link, LinkOption.NOFOLLOW_LINKS)
          || !Files.isWritable(link.toAbsolutePath().getParent())) {
        throw e;
      }
      return false;
    }
  }
}
