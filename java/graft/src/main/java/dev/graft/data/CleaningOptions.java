package dev.graft.data;

/**
 * How a corpus is cleaned.
 *
 * @param form Unicode's normal form
 * @param keepSpaces whether runs of spaces within a line stay
 * @param broken what happens to bytes that are not UTF-8
 * @param minCharacters shorter documents go; 0: none but empty ones
 * @param exactDuplicates whether of equal documents the first alone stays
 * @param nearDuplicates Jaccard similarity of word runs from which a document counts as another's
 *     copy; 0: not looked for
 * @param shingle words of a run
 */
public record CleaningOptions(
    TextCleaner.Form form,
    boolean keepSpaces,
    Broken broken,
    int minCharacters,
    boolean exactDuplicates,
    double nearDuplicates,
    int shingle) {
  /** What happens to bytes that are not UTF-8, and to halves of surrogate pairs. */
  public enum Broken {
    /** The run ends and names file and byte. */
    FAIL,
    /** Each becomes U+FFFD. */
    REPLACE,
    /** The document goes. */
    DROP
  }

  public CleaningOptions {
    if (minCharacters < 0) {
      throw new IllegalArgumentException(
          "minCharacters: expected at least 0, got " + minCharacters);
    }
    if (nearDuplicates != 0 && !(nearDuplicates >= 0.3 && nearDuplicates <= 1)) {
      throw new IllegalArgumentException(
          "nearDuplicates: expected 0, or a similarity of 0.3 to 1, got " + nearDuplicates);
    }
    if (shingle < 1 || shingle > 100) {
      throw new IllegalArgumentException("shingle: expected 1 to 100 words, got " + shingle);
    }
  }

  /** NFC, broken bytes refused, exact duplicates and those of 0.8 by five words dropped. */
  public static CleaningOptions defaults() {
    return new CleaningOptions(TextCleaner.Form.NFC, false, Broken.FAIL, 0, true, 0.8, 5);
  }

  public CleaningOptions withForm(TextCleaner.Form value) {
    return new CleaningOptions(
        value, keepSpaces, broken, minCharacters, exactDuplicates, nearDuplicates, shingle);
  }

  public CleaningOptions withKeepSpaces(boolean value) {
    return new CleaningOptions(
        form, value, broken, minCharacters, exactDuplicates, nearDuplicates, shingle);
  }

  public CleaningOptions withBroken(Broken value) {
    return new CleaningOptions(
        form, keepSpaces, value, minCharacters, exactDuplicates, nearDuplicates, shingle);
  }

  public CleaningOptions withMinCharacters(int value) {
    return new CleaningOptions(
        form, keepSpaces, broken, value, exactDuplicates, nearDuplicates, shingle);
  }

  public CleaningOptions withExactDuplicates(boolean value) {
    return new CleaningOptions(
        form, keepSpaces, broken, minCharacters, value, nearDuplicates, shingle);
  }

  public CleaningOptions withNearDuplicates(double value) {
    return new CleaningOptions(
        form, keepSpaces, broken, minCharacters, exactDuplicates, value, shingle);
  }

  public CleaningOptions withShingle(int value) {
    return new CleaningOptions(
        form, keepSpaces, broken, minCharacters, exactDuplicates, nearDuplicates, value);
  }
}
