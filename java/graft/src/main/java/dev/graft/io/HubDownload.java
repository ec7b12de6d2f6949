package dev.graft.io;

import dev.graft.io.HubClient.Answer;
import dev.graft.io.HubRetry.Fault;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.function.LongConsumer;

/**
 * Fetches the content of one file into the cache. It grows beside its place ({@code .incomplete}),
 * goes on there after a fault or in a later process, and takes its name when its hash is right.
 */
final class HubDownload {
  private static final int BUFFER = 1 << 16;

  /** A server that drops the line must let at least so much through, or its faults add up. */
  private static final long PROGRESS = 1 << 20;

  private final HubClient client;
  private final HubCache cache;
  private final HubName name;
  private final String commit;
  private final HubFile file;

  HubDownload(HubClient client, HubCache cache, HubName name, String commit, HubFile file) {
    this.client = client;
    this.cache = cache;
    this.name = name;
    this.commit = commit;
    this.file = file;
  }

  /** Bytes an earlier download left. */
  static long begun(HubCache cache, HubFile file) throws IOException {
    for (Path path : new Path[] {cache.blob(file), cache.incomplete(file)}) {
      if (Files.isRegularFile(path) && Files.size(path) <= file.size()) {
        return Files.size(path);
      }
    }
    return 0;
  }

  /**
   * Fetches it, if it is not there, and puts it into the snapshot.
   *
   * @param progress hears how many bytes of the file are there
   */
  void run(HubRetry retry, LongConsumer progress) throws IOException {
    try (AutoCloseable lock = cache.lock(file)) {
      Path blob = cache.blob(file);
      boolean there = Files.isRegularFile(blob) && Files.size(blob) == file.size();
      if (!there) {
        Files.createDirectories(blob.getParent());
        boolean resumed = begun(cache, file) > 0;
        String found = fetch(retry, progress);
        if (!found.equals(file.etag()) && resumed) {
          found = fetch(retry, progress); // the part of the earlier download may be the wrong one
        }
        if (!found.equals(file.etag())) {
          throw wrongHash(found);
        }
        Files.move(
            cache.incomplete(file),
            blob,
            StandardCopyOption.ATOMIC_MOVE,
            StandardCopyOption.REPLACE_EXISTING);
        AtomicFiles.syncDirectory(blob.getParent());
      }
      progress.accept(file.size());
      cache.publish(file, commit, !there);
    } catch (IOException | RuntimeException e) {
      throw e;
    } catch (Exception e) { // what close() of a lock may declare
      throw new IllegalStateException(e);
    }
  }

  private InvalidInputException wrongHash(String found) {
    return failure(
        (file.isLarge() ? "SHA-256" : "SHA-1 of the git blob")
            + " expected "
            + file.etag()
            + ", got "
            + found
            + ": damaged on the way or at the hub; nothing of it was kept");
  }

  /** Fetches what is missing, and keeps the whole only if its hash, which is returned, is right. */
  private String fetch(HubRetry retry, LongConsumer progress) throws IOException {
    Path incomplete = cache.incomplete(file);
    complete(incomplete, retry, progress);
    String found = file.hashOf(incomplete);
    if (!found.equals(file.etag())) {
      Files.delete(incomplete);
    }
    return found;
  }

  private void complete(Path incomplete, HubRetry retry, LongConsumer progress) throws IOException {
    try (FileChannel channel =
        FileChannel.open(incomplete, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      if (channel.size() > file.size()) {
        channel.truncate(0);
      }
      long counted = channel.size();
      while (channel.size() < file.size()) {
        try {
          attempt(channel, progress);
        } catch (Fault fault) {
          if (channel.size() - counted >= PROGRESS) {
            retry.progressed();
          }
          counted = channel.size();
          retry.failed(fault);
        }
      }
      retry.progressed();
      channel.force(true);
    }
  }

  private void attempt(FileChannel channel, LongConsumer progress) throws IOException {
    long from = channel.size();
    try (Answer answer = client.open(name, commit, file.path(), from)) {
      if (answer.status() == 416 && from > 0) {
        channel.truncate(0);
        throw new Fault(file.path() + ": the hub cannot go on at byte " + from, null, null);
      }
      if (answer.status() != 200 && !(answer.status() == 206 && from > 0)) {
        throw HubErrors.refused(client.settings(), name, file.path(), answer);
      }
      check(answer, from);
      if (answer.status() == 200) {
        channel.truncate(0); // the whole file comes, asked for or not
      }
      copy(answer, channel, progress);
    }
  }

  /** Refuses an answer that cannot be the file. */
  private void check(Answer answer, long from) {
    if (answer.etag() != null && !answer.etag().equals(file.etag())) {
      throw failure(
          "changed on the hub while it was fetched (ETag "
              + file.etag()
              + ", now "
              + answer.etag()
              + "); try again");
    }
    String encoding = answer.header("Content-Encoding");
    if (encoding != null && !encoding.equals("identity")) {
      throw failure("came compressed (" + encoding + ") though that was not asked for");
    }
    boolean part = answer.status() == 206;
    long expected = part ? file.size() - from : file.size();
    String length = answer.header("Content-Length");
    if (length != null && !length.equals(Long.toString(expected))) {
      throw failure("expected " + expected + " bytes, the answer has " + length);
    }
    String range = answer.header("Content-Range");
    String wanted = "bytes " + from + "-" + (file.size() - 1) + "/" + file.size();
    if (part && !wanted.equals(range)) {
      throw failure("expected the range " + wanted + ", the answer has " + range);
    }
  }

  private void copy(Answer answer, FileChannel channel, LongConsumer progress) throws IOException {
    byte[] buffer = new byte[BUFFER];
    long at = channel.size();
    channel.position(at);
    while (true) {
      int count;
      try {
        count = answer.response().body().read(buffer, 0, BUFFER);
      } catch (IOException e) {
        throw client.fault(name, broken(at), e);
      }
      if (count < 0) {
        break;
      }
      if (at + count > file.size()) {
        channel.truncate(0);
        throw failure("the answer has more than the " + file.size() + " bytes expected");
      }
      AtomicFiles.writeFully(channel, ByteBuffer.wrap(buffer, 0, count));
      at += count;
      progress.accept(at);
    }
    if (at < file.size()) {
      throw new Fault(broken(at), null, null);
    }
  }

  private String broken(long at) {
    return String.format(
        "%s: the line broke after %,d of %,d bytes, which are kept", file.path(), at, file.size());
  }

  private InvalidInputException failure(String what) {
    return new InvalidInputException(name + ": " + file.path() + ": " + what);
  }
}
