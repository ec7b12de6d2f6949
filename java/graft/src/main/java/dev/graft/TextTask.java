package dev.graft;

import java.util.Locale;

/** What an encoder is fine-tuned for, beside classes of texts. */
public enum TextTask {
  /** Any number of labels a text. */
  MULTI_LABEL,
  /** A number, or several, a text. */
  REGRESSION,
  /** A class a word: named entities, parts of speech. */
  NER,
  /** Answers as they stand in texts. */
  QA,
  /** The right one of several choices. */
  MULTIPLE_CHOICE;

  /** As settings files have it. */
  String settingsName() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The task of a run's settings, or null if it is another. */
  static TextTask named(String name) {
    for (TextTask task : values()) {
      if (task.settingsName().equals(name)) {
        return task;
      }
    }
    return null;
  }
}
