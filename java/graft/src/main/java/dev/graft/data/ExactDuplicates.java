package dev.graft.data;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;

/**
 * The texts seen so far, by 128 bits of their SHA-256: 20 to 40 bytes a text, and a collision among
 * a billion texts is as likely as one in 10²⁰.
 */
final class ExactDuplicates {
  private final MessageDigest digest;
  private long[] high = new long[1024];
  private long[] low = new long[1024];
  private int[] documents = new int[1024];
  private int count;

  ExactDuplicates() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
    Arrays.fill(documents, -1);
  }

  /** The document with the same text, or −1; then the text counts as {@code document}'s. */
  int add(String text, int document) {
    ByteBuffer hash = ByteBuffer.wrap(digest.digest(text.getBytes(StandardCharsets.UTF_8)));
    if (2L * count >= documents.length) {
      grow();
    }
    return put(hash.getLong(), hash.getLong(), document);
  }

  private int put(long h, long l, int document) {
    int mask = documents.length - 1;
    int slot = (int) h & mask;
    while (documents[slot] >= 0) {
      if (high[slot] == h && low[slot] == l) {
        return documents[slot];
      }
      slot = (slot + 1) & mask;
    }
    high[slot] = h;
    low[slot] = l;
    documents[slot] = document;
    count++;
    return -1;
  }

  private void grow() {
    long[] oldHigh = high;
    long[] oldLow = low;
    int[] old = documents;
    int size = Math.multiplyExact(2, old.length);
    high = new long[size];
    low = new long[size];
    documents = new int[size];
    Arrays.fill(documents, -1);
    count = 0;
    for (int i = 0; i < old.length; i++) {
      if (old[i] >= 0) {
        put(oldHigh[i], oldLow[i], old[i]);
      }
    }
  }
}
