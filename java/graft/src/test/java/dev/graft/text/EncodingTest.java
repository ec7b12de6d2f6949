package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Oracle: the loop of BERT's run_classifier.py, _truncate_seq_pair, over all small lengths. */
class EncodingTest {
  private static final int CLS = 1;
  private static final int SEP = 2;

  private static Encoding pair(int first, int second) {
    int n = first + second + 3;
    int[] ids = new int[n];
    int[] types = new int[n];
    int[] special = new int[n];
    int[] words = new int[n];
    int at = 0;
    ids[at] = CLS;
    special[at++] = 1;
    for (int i = 0; i < first; i++) {
      words[at] = i;
      ids[at++] = 100 + i;
    }
    ids[at] = SEP;
    special[at++] = 1;
    for (int i = 0; i < second; i++) {
      words[at] = i;
      types[at] = 1;
      ids[at++] = 200 + i;
    }
    ids[at] = SEP;
    types[at] = 1;
    special[at] = 1;
    return new Encoding(ids, types, special, words);
  }

  @Test
  void pairsAreCutAsBertCutsThem() {
    for (int first = 0; first <= 6; first++) {
      for (int second = 0; second <= 6; second++) {
        for (int longest = 3; longest <= 16; longest++) {
          List<Integer> a = new ArrayList<>();
          List<Integer> b = new ArrayList<>();
          for (int i = 0; i < first; i++) {
            a.add(100 + i);
          }
          for (int i = 0; i < second; i++) {
            b.add(200 + i);
          }
          while (a.size() + b.size() + 3 > longest) {
            List<Integer> longer = a.size() > b.size() ? a : b;
            longer.remove(longer.size() - 1);
          }
          List<Integer> expected = new ArrayList<>(List.of(CLS));
          expected.addAll(a);
          expected.add(SEP);
          expected.addAll(b);
          expected.add(SEP);
          Encoding cut = pair(first, second).truncate(longest);
          assertThat(cut.ids())
              .as("%d and %d tokens to %d", first, second, longest)
              .isEqualTo(expected.stream().mapToInt(Integer::intValue).toArray());
          for (int i = 0; i < cut.length(); i++) {
            assertThat(cut.typeIds()[i]).isEqualTo(i < a.size() + 2 ? 0 : 1);
            assertThat(cut.specialTokensMask()[i]).isEqualTo(cut.ids()[i] < 100 ? 1 : 0);
          }
        }
      }
    }
  }

  @Test
  void noRoomForTheSpecialTokens() {
    assertThatThrownBy(() -> pair(3, 3).truncate(2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("a length of 2 has no room for the special tokens");
  }

  @Test
  void whatFitsStaysItself() {
    Encoding encoding = pair(2, 2);
    assertThat(encoding.truncate(7)).isSameAs(encoding);
  }
}
