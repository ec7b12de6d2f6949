package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShardedWeightsTest {
  @TempDir Path directory;
  private Path model;

  @BeforeEach
  void shards() throws IOException {
    model = Files.createDirectory(directory.resolve("model"));
    shard(model.resolve("model-00001-of-00002.safetensors"), "a", 1, 2);
    shard(model.resolve("model-00002-of-00002.safetensors"), "b", 3);
    shard(directory.resolve("outside.safetensors"), "a", 9);
  }

  private static void shard(Path file, String name, float... values) {
    new SafetensorsWriter().floats(name, values, values.length).write(file);
  }

  private void index(String text) throws IOException {
    Files.writeString(model.resolve("model.safetensors.index.json"), text.replace('\'', '"'));
  }

  @Test
  void tensorsOfEveryFile() throws IOException {
    index(
        "{'metadata':{'total_size':12},'weight_map':{"
            + "'b':'model-00002-of-00002.safetensors','a':'model-00001-of-00002.safetensors'}}");
    try (WeightSource weights = WeightSource.open(model)) {
      assertThat(weights.names()).containsExactly("b", "a");
      assertThat(weights.floats("a", 1, 1)).containsExactly(2);
      assertThat(weights.floats("b", 0, 1)).containsExactly(3);
      assertThat(weights.shape("a")).containsExactly(2);
      assertThat(weights.storedCount()).isEqualTo(3);
      assertThatThrownBy(() -> weights.shape("c"))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageEndingWith("model.safetensors.index.json: there is no tensor c");
    }
  }

  @Test
  void oneFileComesBeforeShards_andSafetensorsBeforePytorch() throws IOException {
    index("{}");
    Files.write(model.resolve("pytorch_model.bin"), new byte[4]);
    shard(model.resolve("model.safetensors"), "whole", 5);
    try (WeightSource weights = WeightSource.open(model)) {
      assertThat(weights.names()).containsExactly("whole");
    }
    Files.delete(model.resolve("model.safetensors"));
    assertThatThrownBy(() -> WeightSource.open(model)).hasMessageEndingWith("no weight_map");
    Files.delete(model.resolve("model.safetensors.index.json"));
    assertThatThrownBy(() -> WeightSource.open(model)).hasMessageContaining("pytorch_model.bin: ");
    Files.delete(model.resolve("pytorch_model.bin"));
    assertThatThrownBy(() -> WeightSource.open(model))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("there are no weights here: expected one of model.safetensors, ");
  }

  /** Index with ' for quotation marks. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[] | expected a JSON object",
        "{} | there is no weight_map",
        "{'weight_map':{}} | there is no weight_map",
        "{'weight_map':['a']} | there is no weight_map",
        "{'weight_map':{'a':1}} | a: expected the name of a .safetensors file beside it, got 1",
        "{'weight_map':{'a':''}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'../outside.safetensors'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'..\\\\outside.safetensors'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'/etc/passwd'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'C:outside.safetensors'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'x/../model-00001-of-00002.safetensors'}} | expected the name of a",
        "{'weight_map':{'a':'.safetensors'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'x\\u0000.safetensors'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'pytorch_model.bin'}} | expected the name of a .safetensors file",
        "{'weight_map':{'a':'none.safetensors'}} | none.safetensors: no such file",
        "{'weight_map':{'c':'model-00001-of-00002.safetensors'}} | lacks c, which its index names"
      })
  void indexesThatCannotBeUsed(String index, String message) throws IOException {
    index(index);
    assertThatThrownBy(() -> WeightSource.open(model))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(model + "/")
        .hasMessageContaining(message);
  }
}
