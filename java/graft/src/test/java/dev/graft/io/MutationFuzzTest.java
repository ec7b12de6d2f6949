package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Columns;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.data.LabelSet;
import dev.graft.data.LabelledData;
import dev.graft.data.LabelledExample;
import dev.graft.data.TokenShards;
import dev.graft.model.ModelConfig;
import dev.graft.text.CharTrainer;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged files of every kind that is read: each ends in a result or in an {@link
 * InvalidInputException} that names the file, within a second and 256 MB of allocation. Mutants are
 * a function of their number, so a failure names the one to run again. {@code -Dgraft.full=true}
 * runs 1,000,000 safetensors and 200,000 of each other kind.
 */
class MutationFuzzTest {
  private static final boolean FULL = Boolean.getBoolean("graft.full");
  private static final long MOST_ALLOCATED = 256L << 20;
  private static final long MOST_NANOSECONDS = 1_000_000_000L;

  /** Values that size checks trip over. */
  private static final String[] NUMBERS = {
    "0",
    "-1",
    "1",
    "2147483647",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1e400",
    "1.5",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}"
  };

  private static final byte[] SIGNS = "\"{}[]:,\\\n\r\t 0-9.eE\0'#".getBytes();

  @TempDir Path directory;

  private interface Reader {
    void read() throws IOException;
  }

  private static byte[] mutate(byte[] original, long number) {
    Random random = new Random(number * 0x9E3779B97F4A7C15L);
    byte[] bytes = original;
    int changes = 1 + random.nextInt(3);
    for (int i = 0; i < changes && bytes.length > 0; i++) {
      int at = random.nextInt(bytes.length);
      switch (random.nextInt(8)) {
        case 0 -> bytes = set(bytes, at, (byte) (bytes[at] ^ (1 << random.nextInt(8))));
        case 1 -> bytes = set(bytes, at, (byte) random.nextInt(256));
        case 2 -> bytes = set(bytes, at, SIGNS[random.nextInt(SIGNS.length)]);
        case 3 -> bytes = Arrays.copyOf(bytes, at);
        case 4 ->
            bytes = splice(bytes, at, Math.min(bytes.length, at + random.nextInt(40)), new byte[0]);
        case 5 -> {
          int to = Math.min(bytes.length, at + random.nextInt(60));
          bytes = splice(bytes, at, at, Arrays.copyOfRange(bytes, at, to));
        }
        case 6 -> {
          byte[] noise = new byte[random.nextInt(16)];
          random.nextBytes(noise);
          bytes = splice(bytes, at, at, noise);
        }
        default -> bytes = number(bytes, at, NUMBERS[random.nextInt(NUMBERS.length)]);
      }
    }
    return bytes;
  }

  private static byte[] set(byte[] bytes, int at, byte value) {
    byte[] out = bytes.clone();
    out[at] = value;
    return out;
  }

  private static byte[] splice(byte[] bytes, int from, int to, byte[] with) {
    ByteBuffer out = ByteBuffer.allocate(bytes.length - (to - from) + with.length);
    return out.put(bytes, 0, from).put(with).put(bytes, to, bytes.length - to).array();
  }

  /** Puts a value where the next number behind {@code at} stands. */
  private static byte[] number(byte[] bytes, int at, String value) {
    int from = at;
    while (from < bytes.length && !(bytes[from] >= '0' && bytes[from] <= '9')) {
      from++;
    }
    int to = from;
    while (to < bytes.length && bytes[to] >= '0' && bytes[to] <= '9') {
      to++;
    }
    return splice(bytes, from, to, value.getBytes());
  }

  private void fuzz(Path file, int few, int full, Reader reader) throws IOException {
    byte[] original = Files.readAllBytes(file);
    reader.read();
    int count = FULL ? full : few;
    int refused = 0;
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    for (int n = 0; n < count; n++) {
      Files.write(file, mutate(original, n));
      long allocated = threads.getCurrentThreadAllocatedBytes();
      long start = System.nanoTime();
      try {
        reader.read();
      } catch (InvalidInputException e) {
        refused++;
        assertThat(e.getMessage())
            .as("mutant %d", n)
            .contains(directory.toString())
            .doesNotContain("\n");
      } catch (Throwable e) {
        throw new AssertionError(file.getFileName() + " mutant " + n + ": " + e, e);
      }
      long time = System.nanoTime() - start;
      allocated = threads.getCurrentThreadAllocatedBytes() - allocated;
      assertThat(allocated).as("bytes allocated for mutant %d", n).isLessThan(MOST_ALLOCATED);
      // A machine that stands still for a second is no endless loop: the same mutant again.
      if (time > MOST_NANOSECONDS) {
        long again = System.nanoTime();
        try {
          reader.read();
        } catch (InvalidInputException e) {
          // counted above
        }
        assertThat(System.nanoTime() - again)
            .as("time of mutant %d", n)
            .isLessThan(5 * MOST_NANOSECONDS);
      }
    }
    Files.write(file, original);
    System.out.printf("%s: %d mutants, %d refused%n", file.getFileName(), count, refused);
    // Otherwise the mutants are too tame to show anything.
    assertThat(refused).isBetween(count / 10, count);
  }

  @Test
  void safetensors() throws IOException {
    Path file = directory.resolve("model.safetensors");
    new SafetensorsWriter()
        .floats("a.weight", new float[] {1, 2, 3, 4, 5, 6}, 2, 3)
        .add("b", "I64", ByteBuffer.allocate(16), 2)
        .add("c", "BF16", ByteBuffer.allocate(6), 3)
        .floats("empty", new float[0], 0)
        .write(file);
    fuzz(
        file,
        15_000,
        1_000_000,
        () -> {
          try (Safetensors tensors = Safetensors.open(file)) {
            for (String name : tensors.names()) {
              TensorInfo info = tensors.info(name);
              tensors.buffer(name);
              if (info.dtype().startsWith("F32") || info.dtype().startsWith("BF")) {
                tensors.floats(name);
              }
            }
          }
        });
  }

  private static void readAll(WeightSource weights) {
    for (String name : weights.names()) {
      long count = weights.count(name);
      try {
        weights.floats(name, 0, (int) Math.min(count, 1000));
      } catch (InvalidInputException e) {
        if (!e.getMessage().contains("expected floating-point numbers")) {
          throw e;
        }
      }
    }
  }

  @Test
  void pytorchCheckpoints() throws IOException {
    for (String name : List.of("views-zip.bin", "views-legacy.bin", "views-protocol4.bin")) {
      Path file = directory.resolve(name);
      Files.copy(Path.of("src/test/resources/checkpoints").resolve(name), file);
      fuzz(
          file,
          1_500,
          1_000_000,
          () -> {
            try (PytorchCheckpoint weights = PytorchCheckpoint.open(file)) {
              readAll(weights);
            }
          });
    }
  }

  /** The pickle alone, in an archive whose checksums are right. */
  @Test
  void picklesOfPytorch() throws IOException {
    Path archive = directory.resolve("archive.bin");
    Map<String, byte[]> entries = new LinkedHashMap<>();
    try (ZipFile zip = new ZipFile("src/test/resources/checkpoints/views-zip.bin")) {
      for (ZipEntry entry : Collections.list(zip.entries())) {
        entries.put(entry.getName(), zip.getInputStream(entry).readAllBytes());
      }
    }
    String pickle =
        entries.keySet().stream().filter(name -> name.endsWith("data.pkl")).findFirst().get();
    Path file = directory.resolve("data.pkl");
    Files.write(file, entries.get(pickle));
    fuzz(
        file,
        2_000,
        1_000_000,
        () -> {
          entries.put(pickle, Files.readAllBytes(file));
          PytorchCheckpointTest.writeZip(archive, entries);
          try (PytorchCheckpoint weights = PytorchCheckpoint.open(archive)) {
            readAll(weights);
          }
        });
  }

  @Test
  void shardIndexes() throws IOException {
    Path set = Files.createDirectory(directory.resolve("sharded"));
    try (Stream<Path> files = Files.list(Path.of("src/test/resources/checkpoints/bert-shards"))) {
      for (Path file : files.toList()) {
        Files.copy(file, set.resolve(file.getFileName()));
      }
    }
    fuzz(
        set.resolve("pytorch_model.bin.index.json"),
        500,
        200_000,
        () -> WeightSource.open(set).close());
  }

  /** A hub's list of files and a fetched index: whatever they name lies below the snapshot. */
  @Test
  void hubAnswers() throws IOException {
    Path list = directory.resolve("list.json");
    TextFixtures.write(
        list,
        "{\"sha\":\"607a30d783dfa663caf39e06633721c8d4cfcd7e\",\"siblings\":[{\"rfilename\":"
            + "\"config.json\"},{\"rfilename\":\"b/.c/a\"},{\"rfilename\":\"1_Pooling/config.json\"}]}");
    fuzz(list, 1_500, 200_000, () -> below(HubListing.of(list, Json.readObject(list)).files()));
    Path index = directory.resolve("model.safetensors.index.json");
    TextFixtures.write(
        index, "{\"weight_map\":{\"a\":\"x.a.\u0020y\",\"b\":\"model-1.safetensors\"}}");
    fuzz(index, 1_500, 200_000, () -> below(HubListing.shards(index)));
  }

  private static void below(Iterable<String> names) {
    Path snapshot = Path.of("/cache/snapshot");
    for (String name : names) {
      Path file = snapshot.resolve(name).normalize();
      assertThat(file.startsWith(snapshot) && !file.equals(snapshot)).as(name).isTrue();
      assertThat(name).doesNotContain("\\").doesNotContain("//").doesNotStartWith("/");
    }
  }

  private void tokenizer(Path file) throws IOException {
    fuzz(
        file,
        1_200,
        200_000,
        () -> {
          try (Tokenizer tokenizer = Tokenizer.fromPretrained(file.getParent())) {
            int[] ids = tokenizer.encode("The cat, 中文 \uD83D\uDE00", "ab", true).ids();
            tokenizer.decode(ids, true);
          }
        });
  }

  private Path text() {
    return TextFixtures.write(
        directory.resolve("text.txt"),
        "the cat sat on the mat, the cat: 中文 cat the mat\n".repeat(5));
  }

  @Test
  void wordPieceTokenizer() throws IOException {
    Path set = directory.resolve("bert");
    try (Tokenizer tokenizer = WordPieceTrainer.train(List.of(text()), 40, 1, true)) {
      tokenizer.savePretrained(set);
    }
    tokenizer(set.resolve("tokenizer.json"));
    Files.delete(set.resolve("tokenizer.json"));
    tokenizer(set.resolve("vocab.txt"));
  }

  @Test
  void bytePairTokenizer() throws IOException {
    Path set = directory.resolve("gpt2");
    // A real one would make most mutants change a token nobody looks at.
    TextFixtures.write(
        set.resolve("vocab.json"),
        "{\"T\":0,\"h\":1,\"e\":2,\"Ġ\":3,\"c\":4,\"a\":5,\"t\":6,\"Th\":7,\"The\":8,\"Ġc\":9,\"at\":10,"
            + "\"Ġcat\":11,\"<|endoftext|>\":12}");
    TextFixtures.write(set.resolve("merges.txt"), "#version: 0.2\nT h\nTh e\nĠ c\na t\nĠc at\n");
    tokenizer(set.resolve("vocab.json"));
    tokenizer(set.resolve("merges.txt"));
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(set)) {
      tokenizer.savePretrained(set);
    }
    tokenizer(set.resolve("tokenizer.json"));
  }

  @Test
  void modelConfigurations() throws IOException {
    for (String model : List.of("generated-bert", "hf-tiny-random-gpt2")) {
      Path file = directory.resolve(model).resolve("config.json");
      Files.createDirectories(file.getParent());
      Files.copy(TextFixtures.path("../models/" + model + "/config.json"), file);
      fuzz(file, 4_000, 200_000, () -> ModelConfig.fromJson(file, Json.readObject(file)));
    }
  }

  @Test
  void tokenShards() throws IOException {
    Path set = directory.resolve("shards");
    try (Tokenizer tokenizer = CharTrainer.train(List.of(text()), 0)) {
      Corpus.of(text()).documents(DocumentMode.LINE).encode(tokenizer, set).close();
    }
    fuzz(
        set.resolve("shards.json"),
        4_000,
        200_000,
        () -> {
          try (TokenShards shards = TokenShards.open(set)) {
            shards.toArray();
          }
        });
  }

  private void labelled(String name, String text) throws IOException {
    Path file = TextFixtures.write(directory.resolve(name), text);
    fuzz(
        file,
        4_000,
        200_000,
        () -> {
          List<LabelledExample> examples = new ArrayList<>();
          LabelledData.forEach(file, Columns.of("text", "label"), examples::add);
          LabelSet.of(examples, file.toString());
        });
  }

  @Test
  void labelledSets() throws IOException {
    labelled(
        "a.csv", "id,text,label\r\n1,\"a \"\"b\"\"\nc\",x\r\n2,déf,y\r\n3,\"\",x\r\n4,g,y\r\n");
    labelled("a.tsv", "id\ttext\tlabel\n1\ta \"b\tx\n2\tdéf 中\ty\n3\t\tx\n4\tg\ty\n");
    labelled(
        "a.jsonl",
        "{\"text\": \"a\\n\", \"label\": \"x\"}\n{\"text\": \"dé\\u00e9\", \"label\": 1}\n{\"label\": \"x\", \"text\": \"c\"}\n");
  }
}
