package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code torch.save}'s files, made by {@code bench/peers/make_checkpoints.py}, and files nobody
 * should trust, made here.
 */
class PytorchCheckpointTest {
  private static final Path FILES = Path.of("src/test/resources/checkpoints");
  private static final byte[] FLOATS = {0, 0, -128, 63, 0, 0, 0, 64}; // 1, 2

  /** A tensor of two numbers, as protocol 2 writes it: {@code {"a": tensor}}. */
  private static final String PICKLE =
      "\u0080\u0002}q\u0000X\u0001\u0000\u0000\u0000aq\u0001ctorch._utils\n_rebuild_tensor_v2\n"
          + "((X\u0007\u0000\u0000\u0000storagectorch\nFloatStorage\nX\u0001\u0000\u0000\u00000"
          + "X\u0003\u0000\u0000\u0000cpuK\u0002tQK\u0000K\u0002\u0085K\u0001\u0085\u0089}tRs.";

  @TempDir Path directory;

  /** Oracle: PyTorch's own reading of each tensor, in double, rounded to a float. */
  @ParameterizedTest
  @ValueSource(strings = {"views-zip.bin", "views-legacy.bin", "views-protocol4.bin"})
  void everyDtypeAndLayout(String name) {
    try (PytorchCheckpoint read = PytorchCheckpoint.open(FILES.resolve(name));
        Safetensors want = Safetensors.open(FILES.resolve("views.safetensors"))) {
      assertThat(read.names()).containsExactlyInAnyOrderElementsOf(want.names());
      for (String tensor : want.names()) {
        assertThat(read.shape(tensor)).as(tensor).isEqualTo(want.shape(tensor));
        int count = (int) want.count(tensor);
        switch (tensor) {
          case "long", "int", "short", "char", "byte", "bool" ->
              assertThatThrownBy(() -> read.floats(tensor, 0, count))
                  .isInstanceOf(InvalidInputException.class)
                  .hasMessageContaining(tensor + ": expected floating-point numbers, got ");
          default -> {
            float[] all = want.floats(tensor);
            assertThat(read.floats(tensor, 0, count)).as(tensor).isEqualTo(all);
            for (int first = 0; first < count; first += 7) {
              int part = Math.min(7, count - first);
              assertThat(read.floats(tensor, first, part))
                  .as(tensor)
                  .isEqualTo(Arrays.copyOfRange(all, first, first + part));
            }
          }
        }
      }
      assertThatThrownBy(() -> read.floats("plain", 47, 2))
          .isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> read.shape("none")).hasMessageContaining("there is no tensor none");
      read.close();
      assertThatThrownBy(() -> read.floats("plain", 0, 1))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void sharedStoragesCountOnce() {
    try (PytorchCheckpoint read = PytorchCheckpoint.open(FILES.resolve("views-zip.bin"))) {
      long all = read.names().stream().mapToLong(read::count).sum();
      assertThat(read.storedCount()).isLessThan(all).isPositive();
    }
  }

  // ---- hostile files

  private static byte[] latin1(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  private Path zip(Map<String, byte[]> entries) throws IOException {
    return writeZip(directory.resolve("pytorch_model.bin"), entries);
  }

  static Path writeZip(Path file, Map<String, byte[]> entries) throws IOException {
    try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(file))) {
      for (Map.Entry<String, byte[]> e : entries.entrySet()) {
        CRC32 crc = new CRC32();
        crc.update(e.getValue());
        ZipEntry entry = new ZipEntry(e.getKey());
        entry.setMethod(ZipEntry.STORED);
        entry.setSize(e.getValue().length);
        entry.setCrc(crc.getValue());
        out.putNextEntry(entry);
        out.write(e.getValue());
        out.closeEntry();
      }
    }
    return file;
  }

  private Path pickled(String pickle) throws IOException {
    return zip(Map.of("m/data.pkl", latin1(pickle), "m/data/0", FLOATS));
  }

  private static void refused(Path file, String message) {
    assertThatThrownBy(
            () -> {
              try (PytorchCheckpoint read = PytorchCheckpoint.open(file)) {
                for (String name : read.names()) {
                  read.floats(name, 0, (int) read.count(name));
                }
              }
            })
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(message);
  }

  @Test
  void aPickleByHand() throws IOException {
    try (PytorchCheckpoint read = PytorchCheckpoint.open(pickled(PICKLE))) {
      assertThat(read.floats("a", 0, 2)).containsExactly(1, 2);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "posix, system",
    "os, system",
    "builtins, eval",
    "builtins, getattr",
    "subprocess, Popen",
    "torch, load",
    "torch, UntypedStorage",
    "torch.storage, _load_from_bytes",
    "torch._utils, _rebuild_tensor_v3",
    "numpy.core.multiarray, _reconstruct",
    "collections, OrderedDict.__init__"
  })
  void classesThatAreNotAllowed_areNamedAndNotCalled(String module, String name)
      throws IOException {
    refused(
        pickled("\u0080\u0002c" + module + "\n" + name + "\nX\u0002\u0000\u0000\u0000id\u0085R."),
        "refers to " + module + "." + name + ", which is not allowed");
    String stacked =
        "\u0080\u0004\u008c"
            + (char) module.length()
            + module
            + "\u008c"
            + (char) name.length()
            + name
            + "\u0093)R.";
    refused(pickled(stacked), "refers to " + module + "." + name + ", which is not allowed");
  }

  static String[][] pickles() {
    String nested = "\u0080\u0002" + "]".repeat(100_000);
    StringBuilder laughs = new StringBuilder("\u0080\u0002]q\u0000");
    for (int i = 1; i < 200; i++) {
      laughs.append("](").append(("h" + (char) (i - 1)).repeat(10)).append("eq").append((char) i);
    }
    return new String[][] {
      {"", "ends too early"},
      {".", "takes a value where there is none"},
      {"\u0080\u0001N.", "pickle protocol 1"},
      {"\u0080\u0006N.", "pickle protocol 6"},
      {"\u0080\u0002N.", "expected a dictionary of tensors"},
      {"\u0080\u0002}.", "there is no tensor"},
      {"\u0080\u0002}}.", "more than one value"},
      {"\u0080\u0002}N", "ends too early"},
      {"\u0080\u0002t.", "behind a mark where there is none"},
      {"\u0080\u0002h\u0005.", "takes value 5"},
      {"\u0080\u0002NNNs.", "adds a key to what is no dictionary"},
      {"\u0080\u0002NNa.", "adds to what is no list"},
      {"\u0080\u0002}(Nu.", "a key without a value"},
      {"\u0080\u0002}]Ns.", "neither a text nor a number"},
      {"\u0080\u0002}(X\u00ff\u00ff\u00ff\u007f", "does not fit into the pickle"},
      {"\u0080\u0004}(\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "does not fit"},
      {"\u0080\u0002\u008a\u00ff" + "\u0001".repeat(255) + ".", "a whole number of 255 bytes"},
      {"\u0080\u0002NN\u0081.", "instruction 0x81"},
      {"\u0080\u0002i__main__\nA\n.", "instruction 0x69"},
      {"\u0080\u0002I1\n.", "instruction 0x49"},
      {"\u0080\u0002N}b.", "sets the state of what has none"},
      {"\u0080\u0002NQ.", "no storage of numbers"},
      {"\u0080\u0002N)R.", "calls a value in a way that is not allowed"},
      {"\u0080\u0002ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2 in a way"},
      {"\u0080\u0002c" + "x".repeat(300), "longer than 200 characters"},
      {"\u0080\u0004]]\u0093.", "the name of a class is no text"},
      {nested, "ends too early"},
      {nested + ".", "more than one value"},
      {"\u0080\u0002" + "N0".repeat((1 << 20) + 1) + ".", "more than 1048576 objects"},
      {laughs + ".", "more than one value"},
      {PICKLE.replace("K\u0002tQ", "K\u0003tQ"), "expected 3 numbers of 4 bytes, there are 8"},
      {PICKLE.replace("FloatStorage", "DoubleStorage"), "expected 2 numbers of 8 bytes"},
      {PICKLE.replace("X\u0001\u0000\u0000\u00000", "X\u0001\u0000\u0000\u00001"), "1 is missing"},
      {PICKLE.replace("K\u0000K\u0002\u0085", "K\u0001K\u0002\u0085"), "reaches beyond the 2"},
      {PICKLE.replace("K\u0001\u0085\u0089", "K\u0002\u0085\u0089"), "reaches beyond the 2"},
      {PICKLE.replace("K\u0001\u0085\u0089", "J\u00ff\u00ff\u00ff\u00ff\u0085\u0089"), "in a way"},
      {PICKLE.replace("K\u0002\u0085K\u0001\u0085", "K\u0002\u0085)"), "in a way"},
      {
        PICKLE.replace(
            "K\u0002\u0085K\u0001\u0085",
            "\u008a\u0008\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f\u0085"
                + "\u008a\u0008\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f\u0085"),
        "reaches beyond the 2"
      },
    };
  }

  @ParameterizedTest
  @MethodSource("pickles")
  void picklesThatAreNoTensors(String pickle, String message) throws IOException {
    refused(pickled(pickle), message);
  }

  /** A view that repeats two numbers a billion times takes no memory until it is read. */
  @Test
  void expandedWithoutEnd_takesNoMemory() throws IOException {
    String pickle =
        PICKLE.replace(
            "K\u0002\u0085K\u0001\u0085", "J\u0000\u0000\u0000\u0040\u0085K\u0000\u0085");
    try (PytorchCheckpoint read = PytorchCheckpoint.open(pickled(pickle))) {
      assertThat(read.count("a")).isEqualTo(1 << 30);
      assertThat(read.storedCount()).isEqualTo(2);
      assertThat(read.floats("a", 1 << 29, 2)).containsExactly(1, 1);
    }
  }

  @Test
  void zipsThatLie() throws IOException {
    byte[] pickle = latin1(PICKLE);
    refused(zip(Map.of("m/data/0", FLOATS)), "expected one data.pkl in the zip archive, got 0");
    refused(
        zip(Map.of("m/data.pkl", pickle, "n/data.pkl", pickle)),
        "expected one data.pkl in the zip archive, got 2");
    refused(zip(Map.of("m/data.pkl", pickle)), "storage 0 is missing");
    refused(
        zip(Map.of("m/data.pkl", pickle, "m/data/0", new byte[7])),
        "expected 2 numbers of 4 bytes, there are 7 bytes");
    refused(
        zip(Map.of("m/data.pkl", pickle, "m/data/0", FLOATS, "m/byteorder", latin1("big"))),
        "byteorder: expected little");
    refused(
        zip(Map.of("m/data.pkl", pickle, "m/data/0", FLOATS, "m/constants.pkl", pickle)),
        "is a TorchScript program");

    Path file = directory.resolve("pytorch_model.bin");
    try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(file))) {
      out.putNextEntry(new ZipEntry("m/data.pkl"));
      out.write(new byte[1 << 20]);
    }
    refused(file, "zip entry m/data.pkl is compressed");
  }

  @Test
  void aWrongByteInAStorage_isFoundByItsChecksum() throws IOException {
    Path file = pickled(PICKLE);
    byte[] bytes = Files.readAllBytes(file);
    int at = indexOf(bytes, FLOATS);
    bytes[at] ^= 1;
    Files.write(file, bytes);
    refused(file, "zip entry m/data/0 has another CRC-32");
  }

  @Test
  void entriesThatOverlap() throws IOException {
    Path file = pickled(PICKLE);
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int first = indexOf(bytes.array(), new byte[] {'P', 'K', 1, 2});
    int name = bytes.getShort(first + 28);
    int second = first + 46 + name;
    // Both entries of the directory point at one place.
    bytes.putInt(second + 42, bytes.getInt(first + 42));
    Files.write(file, bytes.array());
    refused(file, "");
  }

  private static int indexOf(byte[] bytes, byte[] wanted) {
    for (int at = 0; at <= bytes.length - wanted.length; at++) {
      if (Arrays.equals(bytes, at, at + wanted.length, wanted, 0, wanted.length)) {
        return at;
      }
    }
    throw new AssertionError("not there");
  }

  @Test
  void everyTruncation() throws IOException {
    for (String name : new String[] {"views-zip.bin", "views-legacy.bin"}) {
      byte[] whole = Files.readAllBytes(FILES.resolve(name));
      for (int length = 0; length < whole.length; length += 1 + length / 100) {
        Path file = Files.write(directory.resolve("t.bin"), Arrays.copyOf(whole, length));
        refused(file, "");
      }
    }
  }

  @Test
  void whatIsNoCheckpoint() throws IOException {
    Path file = directory.resolve("t.bin");
    for (byte[] bytes :
        new byte[][] {{}, {1}, latin1("version https://git-lfs"), latin1("<html></html>")}) {
      Files.write(file, bytes);
      refused(file, "neither a zip archive nor a pickle");
    }
    Files.write(file, latin1("\u0080\u0002N."));
    refused(file, "a pickle, but not a checkpoint of PyTorch");
    refused(directory.resolve("none.bin"), "no such file");
    ByteArrayOutputStream legacy = new ByteArrayOutputStream();
    legacy.write(latin1("\u0080\u0002\u008a\nl\u00fc\u009cF\u00f9 j\u00a8P\u0019."));
    legacy.write(latin1("\u0080\u0002M\u00e8\u0003."));
    Files.write(file, legacy.toByteArray());
    refused(file, "expected protocol 1001");
  }
}
