package dev.graft.io;

import dev.graft.io.HubRetry.Fault;
import dev.graft.io.HubRetry.Unreachable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A hub of models, by the routes and the cache that people have. A model is fetched once and found
 * in the cache from then on; a program asks the hub once for the commit a name stands for, and
 * keeps to it until it ends.
 *
 * <p>The environment says which hub, where the cache is, and who asks: {@code HF_ENDPOINT}, {@code
 * HF_HUB_CACHE}, {@code HF_HOME}, {@code HF_HUB_OFFLINE}, {@code HF_TOKEN}; a Java system property
 * of the same name wins. Only files that Graft reads are fetched. Large files are verified by their
 * SHA-256, others by the SHA-1 of their git blob.
 */
public final class Hub {
  /** What is needed of a model. */
  public enum Part {
    /** config.json, which tells what a model is. */
    CONFIG,
    /** Configuration and tokenizer: small files. */
    TOKENIZER,
    /** Weights too. */
    MODEL
  }

  private static final int ATTEMPTS = 5;

  /** What names were found to stand for, so that all of a program works with one commit. */
  private static final Map<Known, HubListing> LISTINGS = new ConcurrentHashMap<>();

  private static volatile HubListener listener = new HubLog();

  private final HubSettings settings;
  private final HubClient client;

  private record Known(HubSettings settings, HubName name) {}

  Hub(HubSettings settings) {
    this.settings = settings;
    this.client = new HubClient(settings);
  }

  /** The hub that the environment names. */
  public static Hub fromEnvironment() {
    return new Hub(HubSettings.fromEnvironment());
  }

  /** Who hears of downloads in this process; without it they are in the log. */
  public static void setListener(HubListener value) {
    listener = Objects.requireNonNull(value, "listener");
  }

  /**
   * The directory of a model in the cache, with the files of the part in it.
   *
   * @throws InvalidInputException in one line if there is no such model, it may not be had, the hub
   *     cannot be reached and the cache does not hold it, or what came is not what the hub promised
   */
  public Path snapshot(HubName name, Part part) {
    HubCache cache = new HubCache(settings, name);
    Known known = new Known(settings, name);
    HubListing listing = LISTINGS.get(known);
    if (listing == null) {
      String commit = cache.commit(name.revision());
      Path cached = commit == null ? null : cache.snapshot(commit);
      if (settings.offline()) {
        return offline(name, part, cached);
      }
      boolean complete = cached != null && HubListing.lacks(cached, part) == null;
      if (complete && name.isCommit() && HubListing.lacks(cached, Part.TOKENIZER) == null) {
        return cached;
      }
      try {
        listing = list(name, complete ? 1 : ATTEMPTS);
      } catch (Unreachable e) {
        if (!complete) {
          throw e;
        }
        listener.onNote(e.getMessage() + "; using the cached commit " + commit);
        return cached;
      }
      LISTINGS.put(known, listing);
    }
    try {
      return fetch(name, part, cache, listing);
    } catch (IOException e) {
      throw InvalidInputException.of(settings.cache(), e);
    }
  }

  private Path offline(HubName name, Part part, Path cached) {
    String lacks =
        cached == null || !Files.isDirectory(cached) ? "it" : HubListing.lacks(cached, part);
    if (lacks != null) {
      throw new InvalidInputException(
          name
              + ": no such directory, and the cache "
              + settings.cache()
              + " does not hold "
              + lacks
              + "; HF_HUB_OFFLINE is set: without it the model is fetched from "
              + settings.endpoint());
    }
    return cached;
  }

  private HubListing list(HubName name, int attempts) {
    HubRetry retry = new HubRetry(name, settings.pause(), attempts, listener);
    while (true) {
      try {
        return client.list(name);
      } catch (Fault fault) {
        retry.failed(fault);
      }
    }
  }

  private Path fetch(HubName name, Part part, HubCache cache, HubListing listing)
      throws IOException {
    Path snapshot = cache.snapshot(listing.commit());
    List<String> files = new ArrayList<>(listing.small(part));
    if (part == Part.MODEL) {
      String weights = listing.weights(name);
      if (HubListing.isIndex(weights)) {
        download(name, cache, listing, List.of(weights));
        for (String shard : HubListing.shards(snapshot.resolve(weights))) {
          if (!listing.files().contains(shard)) {
            throw new InvalidInputException(
                name + ": " + weights + " names " + shard + ", which the hub does not have");
          }
          files.add(shard);
        }
      } else {
        files.add(weights);
      }
    }
    download(name, cache, listing, files);
    // Last, so that a cache used offline knows whole snapshots only.
    cache.remember(name.revision(), listing.commit());
    return snapshot;
  }

  private void download(HubName name, HubCache cache, HubListing listing, List<String> files)
      throws IOException {
    String commit = listing.commit();
    HubRetry retry = new HubRetry(name, settings.pause(), ATTEMPTS, listener);
    List<HubFile> missing = new ArrayList<>();
    long bytes = 0;
    long begun = 0;
    for (String file : files) {
      if (!Files.isRegularFile(cache.snapshot(commit).resolve(file))) {
        HubFile described = describe(retry, name, commit, file);
        missing.add(described);
        bytes = Math.addExact(bytes, described.size());
        begun += HubDownload.begun(cache, described);
      }
    }
    if (missing.isEmpty()) {
      return;
    }
    requireSpace(name, bytes - begun);
    boolean complete = false;
    HubListener display = settings.progress() ? listener : new HubListener() {};
    display.onStart(name.toString(), missing.size(), bytes, begun);
    try {
      long before = 0;
      for (HubFile file : missing) {
        long others = before;
        new HubDownload(client, cache, name, commit, file)
            .run(retry, there -> display.onProgress(file.path(), others + there));
        before += file.size();
      }
      complete = true;
    } finally {
      display.onEnd(complete);
    }
  }

  private HubFile describe(HubRetry retry, HubName name, String commit, String file) {
    while (true) {
      try {
        HubFile described = client.describe(name, commit, file);
        retry.progressed();
        return described;
      } catch (Fault fault) {
        retry.failed(fault);
      }
    }
  }

  private void requireSpace(HubName name, long bytes) throws IOException {
    if (Files.exists(settings.cache()) && !Files.isDirectory(settings.cache())) {
      throw InvalidInputException.of(
          settings.cache(), "expected the directory of the cache (HF_HUB_CACHE), this is a file");
    }
    Files.createDirectories(settings.cache());
    long free = Files.getFileStore(settings.cache()).getUsableSpace();
    if (bytes > free) {
      throw new InvalidInputException(
          String.format(
              "%s: %s: expected %,d MB of free space, there are %,d MB (HF_HUB_CACHE names another"
                  + " place)",
              name, settings.cache(), bytes / 1_000_000, free / 1_000_000));
    }
  }
}
