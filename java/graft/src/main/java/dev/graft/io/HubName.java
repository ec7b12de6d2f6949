package dev.graft.io;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a hub calls a model: {@code bert-base-uncased} or {@code org/name}, and after an {@code @}
 * the revision if it is not {@code main}: {@code org/name@v1.0}, {@code gpt2@refs/pr/4}, {@code
 * gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e}.
 *
 * @param repository name, or organisation and name
 * @param revision branch, tag or commit
 */
public record HubName(String repository, String revision) {
  static final String MAIN = "main";

  private static final int LONGEST_SHOWN = 250;
  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");
  private static final Pattern SNAPSHOT =
      Pattern.compile(".*/models--([^/]+)/snapshots/([0-9a-f]{40})");
  private static final Pattern PART = Pattern.compile("\\w([\\w.-]{0,94}\\w)?");
  private static final Pattern REVISION = Pattern.compile("[\\w.+=@/-]{1,200}");

  public HubName {
    String problem = problem(repository, revision);
    if (problem != null) {
      throw new InvalidInputException(
          shown(repository + "@" + revision) + ": is no model's name on a hub: " + problem);
    }
  }

  /** Reads {@code name}, {@code org/name}, or one of them with {@code @revision}. */
  public static HubName parse(String text) {
    int at = text.indexOf('@');
    return at < 0
        ? new HubName(text, MAIN)
        : new HubName(text.substring(0, at), text.substring(at + 1));
  }

  /** The name and commit of a model in a cache, by its directory there; null for any other. */
  public static HubName ofSnapshot(Path directory) {
    Path path = directory.toAbsolutePath().normalize();
    Matcher folders = SNAPSHOT.matcher(path.toString().replace('\\', '/'));
    if (!folders.matches()) {
      return null;
    }
    String repository = folders.group(1).replace("--", "/");
    return problem(repository, folders.group(2)) == null
        ? new HubName(repository, folders.group(2))
        : null;
  }

  /** Why {@link #parse} would refuse this; null if it would not. */
  static String problem(String text) {
    int at = text.indexOf('@');
    return at < 0 ? problem(text, MAIN) : problem(text.substring(0, at), text.substring(at + 1));
  }

  private static String problem(String repository, String revision) {
    String unsafe = SafePath.problem(repository);
    if (unsafe != null) {
      return unsafe;
    }
    String[] parts = repository.split("/", -1);
    if (parts.length > 2) {
      return "it has more parts than organisation/name";
    }
    if (!Arrays.stream(parts).allMatch(part -> PART.matcher(part).matches())) {
      return "expected at most 96 letters, digits, '-', '_' and '.', the first and last no '-' or '.'";
    }
    if (repository.contains("--") || repository.contains("..") || repository.endsWith(".git")) {
      return "'--', '..' and the end '.git' are not allowed";
    }
    unsafe = SafePath.problem(revision);
    if (unsafe != null) {
      return "revision: " + unsafe;
    }
    boolean named = REVISION.matcher(revision).matches();
    for (String part : revision.split("/")) {
      named &= !part.startsWith(".") && !part.startsWith("-") && !part.endsWith(".lock");
    }
    return named && !revision.contains("..") ? null : "revision: expected a branch, tag or commit";
  }

  /** As much of a text as a message needs. */
  static String shown(String text) {
    return text.length() <= LONGEST_SHOWN ? text : text.substring(0, LONGEST_SHOWN) + "…";
  }

  /** Whether the revision is a commit, which never changes. */
  boolean isCommit() {
    return isCommit(revision);
  }

  static boolean isCommit(String revision) {
    return COMMIT.matcher(revision).matches();
  }

  /** As it was written. */
  @Override
  public String toString() {
    return revision.equals(MAIN) ? repository : repository + "@" + revision;
  }
}
