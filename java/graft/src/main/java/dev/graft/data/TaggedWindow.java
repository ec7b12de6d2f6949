package dev.graft.data;

import java.util.Arrays;

/**
 * A stretch of a sentence as a model reads it.
 *
 * @param ids tokens, special ones included
 * @param labels the class of the first token of each word that counts here, else {@link
 *     Batch#IGNORED}
 * @param words the word each of those tokens begins, else −1
 * @param sentence which sentence it is of
 */
public record TaggedWindow(int[] ids, int[] typeIds, int[] labels, int[] words, int sentence)
    implements Example {
  @Override
  public int sequences() {
    return 1;
  }

  @Override
  public int tokens() {
    return ids.length;
  }

  @Override
  public int longest() {
    return ids.length;
  }

  @Override
  public void addTo(Batch batch) {
    batch.beginSequence(Batch.IGNORED);
    for (int i = 0; i < ids.length; i++) {
      batch.addToken(ids[i], i, typeIds[i], labels[i]);
    }
  }

  @Override
  public int contentHash() {
    return 31 * (31 * Arrays.hashCode(ids) + Arrays.hashCode(typeIds)) + Arrays.hashCode(labels);
  }
}
