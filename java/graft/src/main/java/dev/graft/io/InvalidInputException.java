package dev.graft.io;

import java.nio.file.Path;

/** Input from outside that cannot be used: one clear line with the file and the cause. */
public class InvalidInputException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;

  private static final int LONGEST_MESSAGE = 2000;

  public InvalidInputException(String message) {
    super(oneLine(message));
  }

  public InvalidInputException(String message, Throwable cause) {
    super(oneLine(message), cause);
  }

  /** Messages quote what stands in files: it must not write lines, or pages, of its own. */
  private static String oneLine(String message) {
    boolean cut = message.length() > LONGEST_MESSAGE;
    StringBuilder line = new StringBuilder();
    for (char c : message.substring(0, cut ? LONGEST_MESSAGE : message.length()).toCharArray()) {
      if (c == '\n') {
        line.append("\\n");
      } else if (Character.isISOControl(c) || c == '\u2028' || c == '\u2029') {
        line.append(String.format("\\u%04X", (int) c));
      } else {
        line.append(c);
      }
    }
    return line.append(cut ? "…" : "").toString();
  }

  /** {@code "<file>: <what>"}. */
  public static InvalidInputException of(Path file, String what) {
    return new InvalidInputException(file + ": " + what);
  }

  /** {@code "<file>: at byte <offset>: <what>"}. */
  public static InvalidInputException of(Path file, long offset, String what) {
    return new InvalidInputException(file + ": at byte " + offset + ": " + what);
  }

  /** {@code "<file>: line <line>: <what>"}. */
  public static InvalidInputException ofLine(Path file, long line, String what) {
    return new InvalidInputException(file + ": line " + line + ": " + what);
  }

  /** For a failed read or write: names the file and says what the system said. */
  public static InvalidInputException of(Path file, java.io.IOException e) {
    String what;
    if (e instanceof java.nio.file.NoSuchFileException) {
      what = "no such file";
    } else if (e instanceof java.nio.file.AccessDeniedException) {
      what = "permission denied";
    } else if (e instanceof java.nio.file.FileSystemException system
        && system.getReason() != null) {
      what = system.getReason();
    } else {
      what = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    }
    return new InvalidInputException(file + ": " + what, e);
  }
}
