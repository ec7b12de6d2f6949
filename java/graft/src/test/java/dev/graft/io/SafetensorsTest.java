package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
  @TempDir Path directory;

  private Path write(String header, int dataBytes) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer file =
        ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(json.length).put(json);
    for (int i = 0; i < dataBytes; i++) {
      file.put((byte) i);
    }
    return Files.write(directory.resolve("t.safetensors"), file.array());
  }

  /** Header in the CSV with ' for quotation marks. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 8 | ",
        "{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}} | 4 | ",
        "{'a':{'dtype':'F32','shape':[3,0],'data_offsets':[0,0]}} | 0 | ",
        "{} | 0 | ",
        "{'__metadata__':{'k':'v'}}   | 0 | ",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 7 | lie outside of the 7 bytes of data",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 9 | 1 bytes behind the last tensor",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}} | 16 | leaves a hole before it",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'U8','shape':[8],'data_offsets':[4,12]}} | 12 | overlaps the one before",
        "{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}} | 8 | its shape needs 12 bytes, it has 8",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}} | 8 | lie outside",
        "{'a':{'dtype':'F31','shape':[2],'data_offsets':[0,8]}} | 8 | unknown dtype 'F31'",
        "{'a':{'dtype':'F32','shape':[-2],'data_offsets':[0,8]}} | 8 | expected a whole number",
        "{'a':{'dtype':'F32','shape':[2.0],'data_offsets':[0,8]}} | 8 | expected a whole number",
        "{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}} | 8 | expected 'shape' and two",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0]}} | 8 | expected 'shape' and two",
        "{'a':{'dtype':'F32','shape':[4611686018427387904,4],'data_offsets':[0,8]}} | 8 | shape overflows",
        "{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,8]}} | 8 | expected a whole number",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,9223372036854775807]}} | 8 | lie outside",
        "{'a':1} | 0 | unknown dtype ''",
        "{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}} | 1 | Duplicate field 'a'",
        "{'__metadata__':{'k':1}} | 0 | __metadata__: k is not a text",
        "{'__metadata__':[]} | 0 | __metadata__ is not an object of texts",
        "[] | 0 | expected a JSON object",
        "{'a' | 0 | not valid JSON",
        "{} {} | 0 | not valid JSON"
      })
  void headers(String header, int bytes, String message) throws IOException {
    Path file = write(header.replace('\'', '"'), bytes);
    if (message == null) {
      Safetensors.open(file).close();
    } else {
      assertThatThrownBy(() -> Safetensors.open(file))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(file + ": ")
          .hasMessageContaining(message);
    }
  }

  @Test
  void lengthsOfTheHeader() throws IOException {
    Path file = directory.resolve("t.safetensors");
    for (long length : new long[] {-1, 0, 1, 3, 1L << 27, Long.MAX_VALUE, Long.MIN_VALUE}) {
      ByteBuffer bytes = ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN);
      Files.write(file, bytes.putLong(length).put((byte) '{').put((byte) '}').array());
      assertThatThrownBy(() -> Safetensors.open(file))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(file + ": ");
    }
    for (int size = 0; size < 8; size++) {
      Files.write(file, new byte[size]);
      assertThatThrownBy(() -> Safetensors.open(file))
          .hasMessage(file + ": not a safetensors file: " + size + " bytes");
    }
    // The byte a JSON error stands at is counted from the file's start.
    write("{\"a\" 1}", 0);
    assertThatThrownBy(() -> Safetensors.open(file)).hasMessageContaining("at byte 13: ");
  }

  @Test
  void whatIsWrittenIsRead() {
    Random random = new Random(1);
    float[] large = new float[(1 << 21) + 3];
    for (int i = 0; i < large.length; i++) {
      large[i] = random.nextFloat();
    }
    ByteBuffer odd = ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5});
    Path file = directory.resolve("new/dir/m.safetensors");
    new SafetensorsWriter()
        .metadata("note", "ü")
        .add("odd bytes", "U8", odd, 5)
        .floats("large", large, large.length)
        .floats("empty", new float[0], 0, 7)
        .floats("scalar", new float[] {-0.0f})
        .add(
            "i64",
            "I64",
            ByteBuffer.allocate(16)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(-7)
                .putLong(1L << 31)
                .flip(),
            2)
        .write(file);
    try (Safetensors read = Safetensors.open(file)) {
      assertThat(read.metadata()).containsEntry("format", "pt").containsEntry("note", "ü");
      assertThat(read.floats("large")).isEqualTo(large);
      assertThat(read.floats("large", 1 << 20, 5))
          .isEqualTo(java.util.Arrays.copyOfRange(large, 1 << 20, (1 << 20) + 5));
      assertThat(read.floats("empty")).isEmpty();
      assertThat(Float.floatToRawIntBits(read.floats("scalar")[0])).isEqualTo(0x80000000);
      assertThat(read.ints("odd bytes")).containsExactly(1, 2, 3, 4, 5);
      assertThatThrownBy(() -> read.ints("i64")).hasMessageContaining("2147483648 does not fit");
      // Each tensor begins at a multiple of its element's size, wherever it was added.
      for (String name : read.names()) {
        TensorInfo info = read.info(name);
        assertThat(info.begin() % TensorInfo.elementBytes(info.dtype())).as(name).isZero();
      }
      assertThatThrownBy(() -> read.info("none")).hasMessageContaining("there is no tensor none");
      assertThatThrownBy(() -> read.ints("large")).hasMessageContaining("whole numbers, got F32");
      assertThatThrownBy(() -> read.floats("i64")).hasMessageContaining("got I64");
      for (long first : new long[] {-1, large.length, Long.MAX_VALUE, Long.MAX_VALUE / 4 + 1}) {
        assertThatThrownBy(() -> read.floats("large", first, 1))
            .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(
                () -> read.read("large", 4 * first, ByteBuffer.allocate(4 * large.length)))
            .isInstanceOf(IndexOutOfBoundsException.class);
      }
      read.close();
      assertThatThrownBy(() -> read.floats("large"))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("was closed");
      assertThatThrownBy(() -> read.buffer("large")).isInstanceOf(IllegalStateException.class);
    }
  }

  /** Oracle: the value of each half by its definition, in double. */
  @Test
  void everyHalfPrecisionNumber() throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(2 << 16).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 1 << 16; i++) {
      bytes.putShort((short) i);
    }
    Path file = directory.resolve("half.safetensors");
    new SafetensorsWriter().add("h", "F16", bytes.flip(), 1 << 16).write(file);
    try (Safetensors read = Safetensors.open(file)) {
      float[] floats = read.floats("h");
      for (int i = 0; i < 1 << 16; i++) {
        int exponent = (i >> 10) & 31;
        int fraction = i & 1023;
        double magnitude =
            exponent == 31
                ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                : exponent == 0
                    ? fraction * Math.pow(2, -24)
                    : (1 + fraction / 1024.0) * Math.pow(2, exponent - 15);
        assertThat(Float.compare(floats[i], (float) ((i >> 15) == 0 ? magnitude : -magnitude)))
            .as("half %x", i)
            .isZero();
      }
    }
  }

  @Test
  void wrongUseOfTheWriter() {
    SafetensorsWriter writer = new SafetensorsWriter().floats("a", new float[1], 1);
    assertThatThrownBy(() -> writer.floats("a", new float[1], 1)).hasMessageContaining("twice");
    assertThatThrownBy(() -> writer.floats("__metadata__", new float[1], 1))
        .hasMessageContaining("cannot be named");
    assertThatThrownBy(() -> writer.floats("b", new float[1], -1)).hasMessageContaining("negative");
    assertThatThrownBy(() -> writer.add("b", "F99", ByteBuffer.allocate(4), 1))
        .hasMessageContaining("unknown dtype");
    assertThatThrownBy(() -> writer.add("b", "F32", ByteBuffer.allocate(5), 1))
        .hasMessageContaining("5 bytes do not fit");
    assertThatThrownBy(() -> writer.floats("b", new float[1], 1L << 40, 1L << 40))
        .isInstanceOf(ArithmeticException.class);
  }
}
