package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** A hub on this machine, a cache of its own a test, and what a listener heard. */
abstract class HubTestBase {
  static final String NAME = "org/tiny";

  private static final AtomicLong PROGRAMS = new AtomicLong();

  @TempDir Path folder;
  final HubServer server = new HubServer();
  final List<String> heard = new ArrayList<>();
  Path cache;

  @BeforeEach
  void listen() {
    cache = folder.resolve("cache");
    Hub.setListener(
        new HubListener() {
          @Override
          public void onStart(String model, int files, long bytes, long done) {
            heard.add("start " + model + " " + files + " " + bytes + " " + done);
          }

          @Override
          public void onProgress(String file, long done) {
            heard.add("progress " + file + " " + done);
          }

          @Override
          public void onEnd(boolean complete) {
            heard.add("end " + complete);
          }

          @Override
          public void onNote(String text) {
            heard.add("note " + text);
          }
        });
  }

  @AfterEach
  void close() {
    Hub.setListener(new HubLog());
    server.close();
  }

  HubSettings settings() {
    return settings(false, null, Duration.ofSeconds(20), Duration.ofMillis(1));
  }

  HubSettings withToken(String token) {
    return settings(false, token, Duration.ofSeconds(20), Duration.ofMillis(1));
  }

  HubSettings offline() {
    return settings(true, null, Duration.ofSeconds(20), Duration.ofMillis(1));
  }

  HubSettings impatient() {
    return settings(false, null, Duration.ofSeconds(1), Duration.ofMillis(1));
  }

  /** The same hub to a program that has not asked it yet. */
  HubSettings anotherProgram() {
    Duration pause = Duration.ofMillis(1).plusNanos(PROGRAMS.incrementAndGet());
    return settings(false, null, Duration.ofSeconds(20), pause);
  }

  private HubSettings settings(boolean offline, String token, Duration timeout, Duration pause) {
    return new HubSettings(server.endpoint(), cache, offline, token, true, true, timeout, pause);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  /** A model of 3 MB, with files that nobody needs. */
  static Map<String, byte[]> files() {
    Map<String, byte[]> files = new TreeMap<>();
    files.put("config.json", bytes("{\"model_type\": \"bert\"}"));
    files.put("vocab.txt", bytes("[PAD]\n[UNK]\n"));
    files.put("1_Pooling/config.json", bytes("{}"));
    files.put("model.safetensors", random(3_000_000));
    files.put("README.md", bytes("unused"));
    files.put("tf_model.h5", bytes("unused"));
    files.put("onnx/model.onnx", bytes("unused"));
    return files;
  }

  Path fetch() {
    return fetch(settings());
  }

  Path fetch(HubSettings settings) {
    return new Hub(settings).snapshot(HubName.parse(NAME), Hub.Part.MODEL);
  }

  /** It ends in one line that says all of this, and no file is there under its own name. */
  InvalidInputException refused(HubSettings settings, String... parts) {
    return refusedModel(settings, NAME, parts);
  }

  InvalidInputException refusedModel(HubSettings settings, String name, String... parts) {
    InvalidInputException e =
        catchThrowableOfType(
            InvalidInputException.class,
            () -> new Hub(settings).snapshot(HubName.parse(name), Hub.Part.MODEL));
    assertThat(e).as("nothing was refused").isNotNull();
    assertThat(e.getMessage()).contains(parts).hasLineCount(1);
    boolean named = e.getMessage().startsWith(name + ": ");
    assertThat(named || e.getMessage().startsWith(cache.toString())).as(e.getMessage()).isTrue();
    String model = "models--" + HubName.parse(name).repository().replace("/", "--");
    Path ref = cache.resolve(model).resolve("refs").resolve(HubName.parse(name).revision());
    assertThat(Files.exists(ref)).isFalse();
    assertNothingOutside();
    return e;
  }

  void assertNothingOutside() {
    try (Stream<Path> entries = Files.list(folder)) {
      assertThat(entries.filter(entry -> !entry.equals(cache))).isEmpty();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Files of the cache but its locks, relative. */
  List<String> tree() throws IOException {
    if (!Files.exists(cache)) {
      return List.of();
    }
    try (Stream<Path> files = Files.walk(cache)) {
      return files
          .filter(file -> !Files.isDirectory(file))
          .map(file -> cache.relativize(file).toString())
          .filter(file -> !file.startsWith(".locks"))
          .sorted()
          .toList();
    }
  }
}
