package dev.graft.data;

import java.nio.file.Path;

/**
 * A document that cleaning left out.
 *
 * @param file where it stood
 * @param number which document of all files together, from 1
 * @param reason why
 * @param of of a duplicate: the number of the document that stays; else 0
 * @param similarity of a duplicate: Jaccard similarity, 1 if equal; else 0
 * @param text how it begins
 */
public record DroppedDocument(
    Path file, long number, Reason reason, long of, double similarity, String text) {
  /** Why a document goes. */
  public enum Reason {
    /** Nothing is left of it. */
    EMPTY,
    /** It has bytes that are not UTF-8. */
    BROKEN_UTF8,
    /** It has fewer characters than asked for. */
    TOO_SHORT,
    /** It equals another. */
    EXACT_DUPLICATE,
    /** It is as similar to another as the threshold. */
    NEAR_DUPLICATE
  }
}
