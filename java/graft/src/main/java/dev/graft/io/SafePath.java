package dev.graft.io;

import java.util.Set;
import java.util.regex.Pattern;

/**
 * Relative paths that come from outside, with {@code /} between their parts. They are judged by the
 * rules of POSIX and of Windows on every system, so that what is refused does not depend on it.
 */
final class SafePath {
  private static final int LONGEST = 512;
  private static final int LONGEST_PART = 200;
  private static final Pattern DEVICE =
      Pattern.compile(
          "(con|prn|aux|nul|conin\\$|conout\\$|(com|lpt)[0-9\u00B9\u00B2\u00B3]) *(\\..*)?",
          Pattern.CASE_INSENSITIVE);
  private static final Set<Character> NOT_IN_WINDOWS = Set.of(':', '*', '?', '"', '<', '>', '|');

  private SafePath() {}

  /** Why a path must not be used as the name of a file below a folder; null if it may. */
  static String problem(String path) {
    String forged = forgery(path);
    if (forged != null) {
      return forged;
    }
    if (path.length() > LONGEST) {
      return "it is longer than " + LONGEST + " characters";
    }
    for (String part : path.split("/", -1)) {
      if (part.length() > LONGEST_PART) {
        return "a part of it is longer than " + LONGEST_PART + " characters";
      }
      if (DEVICE.matcher(part).matches()) {
        return "'" + part + "' is a device on Windows";
      }
      if (part.endsWith(".") || part.endsWith(" ") || part.startsWith(" ")) {
        return "a part of it begins with a space, or ends with a space or dot";
      }
      for (char c : part.toCharArray()) {
        if (NOT_IN_WINDOWS.contains(c)) {
          return "it holds '" + c + "'";
        }
      }
    }
    return null;
  }

  /**
   * What git itself cannot hold, or nobody honest writes: leaving the folder, absolute, not
   * printable. Null if there is nothing of it.
   */
  static String forgery(String path) {
    if (path.isEmpty()) {
      return "it is empty";
    }
    for (char c : path.toCharArray()) {
      if (Character.isISOControl(c) || c == '\u2028' || c == '\u2029') {
        return "it holds a control character";
      }
    }
    if (path.indexOf('\\') >= 0) {
      return "it holds a backslash";
    }
    if (path.startsWith("/") || path.matches("(?s)[A-Za-z]:.*")) {
      return "it is absolute";
    }
    for (String part : path.split("/", -1)) {
      if (part.equals("..") || part.equals(".")) {
        return "'" + part + "' is no name";
      }
      if (part.isEmpty()) {
        return "a part of it is empty";
      }
    }
    return null;
  }
}
