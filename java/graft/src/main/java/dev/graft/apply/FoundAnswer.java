package dev.graft.apply;

/**
 * An answer found in a text.
 *
 * @param text as it stands there; empty if the text does not answer the question
 * @param begin index of its first character
 * @param end index behind its last one
 * @param probability among the best answers looked at
 */
public record FoundAnswer(String text, int begin, int end, double probability) {}
