package dev.graft.metrics;

/**
 * An entity in a sentence.
 *
 * @param type for example PER
 * @param begin its first word, counted from 0
 * @param end behind its last word
 */
public record EntitySpan(String type, int begin, int end) {}
