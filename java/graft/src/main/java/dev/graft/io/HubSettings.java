package dev.graft.io;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * Where models come from and where they are kept, by the variables people know.
 *
 * @param endpoint {@code HF_ENDPOINT}; without a slash at its end
 * @param cache {@code HF_HUB_CACHE}, else {@code HF_HOME/hub}, else {@code
 *     XDG_CACHE_HOME/huggingface/hub}, else {@code ~/.cache/huggingface/hub}
 * @param offline {@code HF_HUB_OFFLINE}: never ask the hub
 * @param token {@code HF_TOKEN}, else the content of {@code HF_TOKEN_PATH} or {@code
 *     HF_HOME/token}; null: none
 * @param progress false by {@code HF_HUB_DISABLE_PROGRESS_BARS}
 * @param symlinks false by {@code HF_HUB_DISABLE_SYMLINKS}: files are moved or copied instead
 * @param timeout {@code HF_HUB_DOWNLOAD_TIMEOUT} in seconds: the longest silence of a server
 * @param pause before the first repetition of a failed request; doubled before each further one
 */
record HubSettings(
    URI endpoint,
    Path cache,
    boolean offline,
    String token,
    boolean progress,
    boolean symlinks,
    Duration timeout,
    Duration pause) {
  private static final String PUBLIC_HUB = "https://huggingface.co";
  private static final int TIMEOUT_SECONDS = 30;
  private static final Duration PAUSE = Duration.ofSeconds(1);
  private static final int LONGEST_TOKEN_FILE = 4096;
  private static final Set<String> TRUE = Set.of("1", "ON", "YES", "TRUE");

  /**
   * The environment's; a Java system property of the same name wins over a variable, for programs
   * that cannot choose their environment.
   */
  static HubSettings fromEnvironment() {
    return of(
        name -> System.getProperty(name, System.getenv(name)),
        Path.of(System.getProperty("user.home")));
  }

  static HubSettings of(UnaryOperator<String> variables, Path home) {
    UnaryOperator<String> given =
        name -> {
          String value = variables.apply(name);
          return value == null || value.isBlank() ? null : value.strip();
        };
    Path caches = path(given, "XDG_CACHE_HOME", home, home.resolve(".cache"));
    Path base = path(given, "HF_HOME", home, caches.resolve("huggingface"));
    Path old = path(given, "HUGGINGFACE_HUB_CACHE", home, base.resolve("hub"));
    return new HubSettings(
        endpoint(given.apply("HF_ENDPOINT")),
        path(given, "HF_HUB_CACHE", home, old),
        isTrue(given, "HF_HUB_OFFLINE") || isTrue(given, "TRANSFORMERS_OFFLINE"),
        token(given, path(given, "HF_TOKEN_PATH", home, base.resolve("token"))),
        !isTrue(given, "HF_HUB_DISABLE_PROGRESS_BARS"),
        !isTrue(given, "HF_HUB_DISABLE_SYMLINKS"),
        Duration.ofSeconds(seconds(given, "HF_HUB_DOWNLOAD_TIMEOUT")),
        PAUSE);
  }

  private static boolean isTrue(UnaryOperator<String> given, String name) {
    String value = given.apply(name);
    return value != null && TRUE.contains(value.toUpperCase(Locale.ROOT));
  }

  private static int seconds(UnaryOperator<String> given, String name) {
    String value = given.apply(name);
    if (value == null) {
      return TIMEOUT_SECONDS;
    }
    if (!value.matches("[0-9]{1,6}") || Integer.parseInt(value) == 0) {
      throw new InvalidInputException(name + ": expected seconds, got " + value);
    }
    return Integer.parseInt(value);
  }

  private static Path path(UnaryOperator<String> given, String name, Path home, Path otherwise) {
    String value = given.apply(name);
    if (value == null) {
      return otherwise;
    }
    try {
      return value.equals("~") || value.startsWith("~/")
          ? home.resolve(value.substring(Math.min(2, value.length())))
          : Path.of(value);
    } catch (InvalidPathException e) {
      throw new InvalidInputException(name + ": not a path: " + e.getReason(), e);
    }
  }

  private static URI endpoint(String value) {
    String text = (value == null ? PUBLIC_HUB : value).replaceAll("/+$", "");
    try {
      URI uri = new URI(text);
      boolean web = "http".equalsIgnoreCase(uri.getScheme());
      web |= "https".equalsIgnoreCase(uri.getScheme());
      if (web
          && uri.getHost() != null
          && uri.getRawUserInfo() == null
          && uri.getRawQuery() == null
          && uri.getRawFragment() == null) {
        return uri;
      }
    } catch (URISyntaxException e) {
      // Told below. The text may hold a password, so it is not repeated.
    }
    throw new InvalidInputException(
        "HF_ENDPOINT: expected an address such as " + PUBLIC_HUB + ", without user and query");
  }

  private static String token(UnaryOperator<String> given, Path file) {
    if (isTrue(given, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
      return null;
    }
    String name = "HF_TOKEN";
    String token = given.apply(name);
    if (token == null) {
      name = "HUGGING_FACE_HUB_TOKEN";
      token = given.apply(name);
    }
    if (token == null && Files.isRegularFile(file)) {
      name = file.toString();
      try (var in = Files.newInputStream(file)) {
        token = new String(in.readNBytes(LONGEST_TOKEN_FILE), "US-ASCII").strip();
      } catch (IOException e) {
        throw InvalidInputException.of(file, e);
      }
    }
    if (token == null || token.isEmpty()) {
      return null;
    }
    if (!token.chars().allMatch(c -> c > ' ' && c < 127)) {
      throw new InvalidInputException(name + ": holds a character that no token has");
    }
    return token;
  }

  /** Without the token, which belongs in no log. */
  @Override
  public String toString() {
    return endpoint
        + ", "
        + cache
        + (offline ? ", offline" : "")
        + (token == null ? "" : ", token");
  }
}
