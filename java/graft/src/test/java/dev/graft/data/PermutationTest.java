package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.BitSet;
import org.junit.jupiter.api.Test;

class PermutationTest {
  @Test
  void bijectiveForEverySize() {
    for (int size = 1; size <= 300; size++) {
      Permutation permutation = new Permutation(size, 5, size);
      BitSet seen = new BitSet();
      for (int i = 0; i < size; i++) {
        long at = permutation.apply(i);
        assertThat(at).isBetween(0L, size - 1L);
        seen.set((int) at);
      }
      assertThat(seen.cardinality()).as("size %d", size).isEqualTo(size);
    }
  }

  @Test
  void bijectiveForALargeSize() {
    int size = 1_000_003;
    Permutation permutation = new Permutation(size, 1, 0);
    BitSet seen = new BitSet(size);
    for (int i = 0; i < size; i++) {
      seen.set((int) permutation.apply(i));
    }
    assertThat(seen.cardinality()).isEqualTo(size);
  }

  @Test
  void staysInsideBeyondIntegers() {
    long size = (1L << 40) + 12345;
    Permutation permutation = new Permutation(size, 9, 3);
    for (long i = 0; i < 1000; i++) {
      assertThat(permutation.apply(size - 1 - i)).isBetween(0L, size - 1);
    }
  }

  @Test
  void epochsAndSeedsDiffer() {
    int size = 1000;
    Permutation first = new Permutation(size, 1, 0);
    Permutation epoch = new Permutation(size, 1, 1);
    Permutation seed = new Permutation(size, 2, 0);
    Permutation same = new Permutation(size, 1, 0);
    int sameAsEpoch = 0;
    int sameAsSeed = 0;
    int fixed = 0;
    for (int i = 0; i < size; i++) {
      assertThat(same.apply(i)).isEqualTo(first.apply(i));
      sameAsEpoch += first.apply(i) == epoch.apply(i) ? 1 : 0;
      sameAsSeed += first.apply(i) == seed.apply(i) ? 1 : 0;
      fixed += first.apply(i) == i ? 1 : 0;
    }
    // Each is Poisson with mean 1 for independent permutations; 10 has a probability below 1e-7.
    assertThat(sameAsEpoch).isLessThan(10);
    assertThat(sameAsSeed).isLessThan(10);
    assertThat(fixed).isLessThan(10);
  }
}
