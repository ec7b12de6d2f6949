package dev.graft.apply;

/**
 * A named thing found in a text.
 *
 * @param type for example PER
 * @param text as it stands there
 * @param begin index of its first character
 * @param end index behind its last one
 * @param probability mean over its words
 */
public record Entity(String type, String text, int begin, int end, double probability) {}
