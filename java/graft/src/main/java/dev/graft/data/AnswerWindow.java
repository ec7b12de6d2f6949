package dev.graft.data;

import java.util.Arrays;

/**
 * A question and a stretch of its context as a model reads them.
 *
 * @param ids tokens, special ones included
 * @param start the token the answer begins with, {@link Batch#IGNORED} if it is not known
 * @param end the token it ends with
 * @param question which question it is of
 * @param contextAt where the stretch begins among {@code ids}
 * @param begins of the stretch's tokens: index of the first character in the context
 * @param ends index behind the last
 */
public record AnswerWindow(
    int[] ids,
    int[] typeIds,
    int start,
    int end,
    int question,
    int contextAt,
    int[] begins,
    int[] ends)
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
    batch.beginSequence(start);
    batch.endPosition(end);
    for (int i = 0; i < ids.length; i++) {
      batch.addToken(ids[i], i, typeIds[i], Batch.IGNORED);
    }
  }

  @Override
  public int contentHash() {
    int hash = 31 * Arrays.hashCode(ids) + Arrays.hashCode(typeIds);
    return 31 * (31 * hash + start) + end;
  }
}
