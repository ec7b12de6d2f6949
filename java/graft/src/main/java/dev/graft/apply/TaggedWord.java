package dev.graft.apply;

/**
 * A word and the class it was given.
 *
 * @param tag for example {@code B-PER}
 * @param probability of that class
 */
public record TaggedWord(String word, String tag, double probability) {}
