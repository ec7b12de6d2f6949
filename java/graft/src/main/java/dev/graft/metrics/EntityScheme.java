package dev.graft.metrics;

import java.util.ArrayList;
import java.util.List;

/** How tags such as {@code B-PER, I-PER, O} become entities. */
public enum EntityScheme {
  /**
   * As CoNLL's conlleval and seqeval by default: an entity also begins at an {@code I-} whose
   * neighbour has another type. Knows the prefixes B, I, E, S and O.
   */
  LENIENT {
    @Override
    public List<EntitySpan> spans(List<String> tags) {
      List<EntitySpan> spans = new ArrayList<>();
      char before = 'O';
      String typeBefore = "";
      int begin = 0;
      for (int i = 0; i <= tags.size(); i++) {
        char prefix = i == tags.size() ? 'O' : prefix(tags.get(i));
        String type = i == tags.size() || prefix == 'O' ? "" : type(tags.get(i));
        boolean otherType = !type.equals(typeBefore);
        boolean inside = before == 'B' || before == 'I';
        if (before != 'O' && (!inside || "BSO".indexOf(prefix) >= 0 || otherType)) {
          spans.add(new EntitySpan(typeBefore, begin, i));
        }
        if (prefix != 'O' && (!inside || "BS".indexOf(prefix) >= 0 || otherType)) {
          begin = i;
        }
        before = prefix;
        typeBefore = type;
      }
      return spans;
    }
  },

  /**
   * As seqeval's strict mode with IOB2: an entity is one {@code B-} and the {@code I-} of its type
   * behind it; an {@code I-} on its own is none.
   */
  STRICT_IOB2 {
    @Override
    public List<EntitySpan> spans(List<String> tags) {
      List<EntitySpan> spans = new ArrayList<>();
      int begin = -1;
      String open = "";
      for (int i = 0; i <= tags.size(); i++) {
        char prefix = i == tags.size() ? 'O' : prefix(tags.get(i));
        if ("BIO".indexOf(prefix) < 0) {
          throw new IllegalArgumentException(
              "expected the prefixes B, I and O of IOB2, got the tag " + tags.get(i));
        }
        String type = prefix == 'O' ? "" : type(tags.get(i));
        if (begin >= 0 && (prefix != 'I' || !type.equals(open))) {
          spans.add(new EntitySpan(open, begin, i));
          begin = -1;
        }
        if (prefix == 'B') {
          begin = i;
          open = type;
        }
      }
      return spans;
    }
  };

  /**
   * Entities of a sentence, in order.
   *
   * @param tags one a word: {@code O}, or a prefix, {@code -} and the type
   * @throws IllegalArgumentException if a tag has none of the scheme's prefixes
   */
  public abstract List<EntitySpan> spans(List<String> tags);

  static char prefix(String tag) {
    boolean bare = tag.length() == 1;
    if (tag.isEmpty()
        || "BIESO".indexOf(tag.charAt(0)) < 0
        || (!bare && tag.charAt(1) != '-')
        || (!bare && tag.charAt(0) == 'O')) {
      throw new IllegalArgumentException(
          "expected a tag such as B-PER, I-PER or O, got '" + tag + "'");
    }
    return tag.charAt(0);
  }

  /** The type behind the prefix; seqeval calls a bare prefix's type "_". */
  static String type(String tag) {
    return tag.length() <= 2 ? "_" : tag.substring(2);
  }
}
