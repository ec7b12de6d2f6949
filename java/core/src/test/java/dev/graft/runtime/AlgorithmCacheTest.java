package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.runtime.AlgorithmCache.Algorithm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is remembered of timed products. */
class AlgorithmCacheTest {
  @TempDir Path folder;

  private static Algorithm algorithm(long first, long workspace) {
    return new Algorithm(new long[] {first, -1, 0, 3, 4, 5, 6, Long.MIN_VALUE}, workspace, 12.5);
  }

  private static void same(Algorithm got, Algorithm expected) {
    assertThat(got.words()).isEqualTo(expected.words());
    assertThat(got.workspace()).isEqualTo(expected.workspace());
    assertThat(got.microseconds()).isEqualTo(expected.microseconds());
  }

  @Test
  void aLaterProcess_findsThem() {
    Path file = folder.resolve("new").resolve("cublaslt.txt");
    AlgorithmCache first = new AlgorithmCache(file);
    assertThat(first.get("a")).isNull();
    first.put("a", algorithm(1, 0));
    // Two processes at once: neither loses the other's.
    AlgorithmCache second = new AlgorithmCache(file);
    first.put("b", algorithm(2, 1L << 33));
    second.put("c", algorithm(3, 7));
    AlgorithmCache third = new AlgorithmCache(file);
    same(third.get("a"), algorithm(1, 0));
    same(third.get("b"), algorithm(2, 1L << 33));
    same(third.get("c"), algorithm(3, 7));
    assertThat(folder.resolve("new")).isDirectoryContaining("glob:**cublaslt.txt");
    assertThat(file.getParent().toFile().list()).hasSize(1);
  }

  /** The two kinds of a file's lines, and those of a checkpoint, which have no key. */
  @Test
  void choices_liveBesideAlgorithms() throws IOException {
    Path file = folder.resolve("cublaslt.txt");
    FusionChoice faster = FusionChoice.of(10.5, 12);
    FusionChoice refused = FusionChoice.of(Double.POSITIVE_INFINITY, 3);
    AlgorithmCache cache = new AlgorithmCache(file);
    cache.put("product", algorithm(1, 2));
    cache.put("choice/a", faster);
    cache.put("choice/b", refused);
    assertThat(Files.readAllLines(file))
        .startsWith("choice/a fused 10.5 12.0", "choice/b separate Infinity 3.0");
    AlgorithmCache later = new AlgorithmCache(file);
    assertThat(later.choice("choice/a")).isEqualTo(faster);
    assertThat(later.choice("choice/b")).isEqualTo(refused);
    assertThat(later.choice("product")).isNull();
    assertThat(later.get("choice/a")).isNull();
    same(later.get("product"), algorithm(1, 2));
    assertThat(AlgorithmCache.Entry.parse(faster.text())).isEqualTo(faster);
    assertThat(AlgorithmCache.Entry.parse(algorithm(1, 2).text())).isInstanceOf(Algorithm.class);
    for (String wrong : new String[] {"fused", "fused 1", "separate 1 x", "fusee 1 2"}) {
      assertThatThrownBy(() -> AlgorithmCache.Entry.parse(wrong))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void brokenLines_areLeftOut() throws IOException {
    Path file = folder.resolve("cublaslt.txt");
    new AlgorithmCache(file).put("good", algorithm(1, 2));
    List<String> lines = Files.readAllLines(file);
    Files.write(
        file,
        List.of("", "word", "key 1 2 3", "key -5 1 1 1 1 1 1 1 1 1", lines.get(0), "k x 1 1 1"));
    AlgorithmCache cache = new AlgorithmCache(file);
    same(cache.get("good"), algorithm(1, 2));
    assertThat(cache.get("key")).isNull();
    assertThat(cache.get("k")).isNull();
  }

  @Test
  void text_isReadBack_andNothingElseIs() {
    Algorithm one = algorithm(Long.MIN_VALUE, 1L << 40);
    same(Algorithm.parse(one.text()), one);
    for (String wrong :
        new String[] {"", "1 2", one.text() + " 0", one.text().replace("1099", "-")}) {
      assertThatThrownBy(() -> Algorithm.parse(wrong)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void whereNothingCanBeWritten_memoryServes() throws IOException {
    Path file = Files.writeString(folder.resolve("a file"), "").resolve("cublaslt.txt");
    AlgorithmCache cache = new AlgorithmCache(file);
    cache.put("a", algorithm(1, 2));
    same(cache.get("a"), algorithm(1, 2));
  }

  @Test
  void file_isOnePerLibraryAndDevice() {
    Path home = Path.of("/home/me");
    assertThat(AlgorithmCache.file(Map.of(), home, "cublaslt-13.1.0", "NVIDIA H200"))
        .hasToString("/home/me/.cache/graft/cublaslt-13.1.0-nvidia-h200.txt");
    assertThat(AlgorithmCache.file(Map.of("XDG_CACHE_HOME", "/x"), home, "c", "../d"))
        .hasToString("/x/graft/c-..-d.txt");
    assertThat(
            AlgorithmCache.file(
                Map.of("XDG_CACHE_HOME", "/x", "GRAFT_CACHE", "/g"), home, "c", "d"))
        .hasToString("/g/c-d.txt");
  }
}
