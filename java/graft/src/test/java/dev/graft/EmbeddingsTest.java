package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.graft.apply.EmbeddingOptions;
import dev.graft.apply.EmbeddingOptions.Pooling;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Oracle: sentence-transformers in fp32, by bench/peers/make_embedding_fixtures.py. */
class EmbeddingsTest {
  @TempDir Path folder;

  /** A model directory in the layout of sentence-transformers. */
  private Path layout(String modules, String pooling) throws IOException {
    Path model = folder.resolve("model");
    Files.createDirectories(model.resolve("1_Pooling"));
    Path source = Fixtures.model("tribuo-tinybert");
    for (String name : List.of("config.json", "model.safetensors", "tokenizer.json")) {
      Files.copy(source.resolve(name), model.resolve(name));
    }
    Fixtures.write(model.resolve("modules.json"), modules);
    Fixtures.write(model.resolve("1_Pooling/config.json"), pooling);
    Fixtures.write(model.resolve("sentence_bert_config.json"), "{\"max_seq_length\": 24}");
    return model;
  }

  private static String modules(String... kinds) {
    List<String> list = new ArrayList<>();
    for (String kind : kinds) {
      list.add(
          String.format(
              "{\"path\": \"%s\", \"type\": \"sentence_transformers.models.%s\"}",
              kind.equals("Pooling") ? "1_Pooling" : "", kind));
    }
    return list.toString();
  }

  @Test
  void equalTheReference() throws IOException {
    JsonNode expected;
    try (InputStream in = EmbeddingsTest.class.getResourceAsStream("/apply/embeddings.json")) {
      expected = new ObjectMapper().readTree(in);
    }
    List<String> texts = new ArrayList<>();
    expected.path("texts").forEach(text -> texts.add(text.asText()));
    assertThat(expected.path("cases").size()).isEqualTo(4);
    try (BertModel model =
        BertModel.fromPretrained(Fixtures.model("tribuo-tinybert"), Fixtures.small())) {
      assertThat(model.embeddingOptions()).isEqualTo(EmbeddingOptions.defaults());
      for (JsonNode one : expected.path("cases")) {
        EmbeddingOptions options =
            new EmbeddingOptions(
                Pooling.valueOf(one.path("pooling").asText().toUpperCase(Locale.ROOT)),
                one.path("normalized").asBoolean(),
                one.path("max_length").asInt());
        List<float[]> vectors = model.embed(texts, options);
        for (int t = 0; t < texts.size(); t++) {
          for (int c = 0; c < vectors.get(t).length; c++) {
            double value = one.path("vectors").path(t).path(c).asDouble();
            // A few roundings of fp32 at values around 1.
            assertThat((double) vectors.get(t)[c]).isCloseTo(value, within(2e-6));
          }
        }
      }
    }
  }

  @Test
  void publishedLayoutSaysHow() throws IOException {
    Path model =
        layout(
            modules("Transformer", "Pooling", "Normalize"),
            "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    EmbeddingOptions options = new EmbeddingOptions(Pooling.CLS, true, 24);
    assertThat(EmbeddingOptions.of(model)).isEqualTo(options);
    try (BertModel loaded = BertModel.fromPretrained(model, Fixtures.small())) {
      assertThat(loaded.embeddingOptions()).isEqualTo(options);
      assertThat(loaded.embed("trains")).isEqualTo(loaded.embed(List.of("trains"), options).get(0));
    }
    Fixtures.write(model.resolve("1_Pooling/config.json"), "{\"pooling_mode\": \"mean\"}");
    assertThat(EmbeddingOptions.of(model).pooling()).isEqualTo(Pooling.MEAN);
  }

  @Test
  void whatIsNotSupportedIsNamed() throws IOException {
    Path model = layout(modules("Transformer", "Pooling"), "{\"pooling_mode_max_tokens\": true}");
    Path pooling = model.resolve("1_Pooling/config.json");
    assertThatThrownBy(() -> EmbeddingOptions.of(model))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(pooling + ": expected the pooling of mean or cls, got [max_tokens]");
    for (String[] wrong :
        new String[][] {
          {modules("Transformer", "Dense"), "the module sentence_transformers.models.Dense is not"},
          {"{}", "expected a list of modules"},
          {"[", "not valid JSON"},
          {"[{\"type\": \"x.Pooling\", \"path\": \"../..\"}]", "no plain name: ../.."},
          {"[{}]", "the module {} is not supported"},
        }) {
      Fixtures.write(model.resolve("modules.json"), wrong[0]);
      assertThatThrownBy(() -> EmbeddingOptions.of(model))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(model.resolve("modules.json") + ": ")
          .hasMessageContaining(wrong[1]);
    }
  }
}
