package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** The files of a tokenizer as the Hugging Face libraries, old and new, read them. */
final class TokenizerWriter {
  private TokenizerWriter() {}

  static void write(
      Path directory,
      ObjectNode definition,
      Vocabulary vocabulary,
      Map<String, Integer> named,
      String family) {
    AtomicFiles.write(directory.resolve("tokenizer.json"), Json.pretty(definition));
    ObjectNode map = Json.object();
    new TreeMap<>(named).forEach((name, id) -> map.put(name, vocabulary.token(id)));
    AtomicFiles.write(directory.resolve("special_tokens_map.json"), Json.pretty(map));
    ObjectNode config = map.deepCopy();
    JsonNode model = definition.path("model");
    switch (family) {
      case TokenizerFamily.BERT -> {
        JsonNode normalizer = definition.path("normalizer");
        config
            .put("tokenizer_class", "BertTokenizer")
            .put("do_lower_case", normalizer.path("lowercase").asBoolean(false))
            .put("tokenize_chinese_chars", normalizer.path("handle_chinese_chars").asBoolean(true));
        config.set("strip_accents", normalizer.get("strip_accents"));
        if (vocabulary.fitsLines()) {
          AtomicFiles.write(directory.resolve("vocab.txt"), vocabulary.lines());
        }
      }
      case TokenizerFamily.GPT2 -> {
        boolean roberta = TokenizerFamily.isRoberta(definition);
        config.put("tokenizer_class", roberta ? "RobertaTokenizer" : "GPT2Tokenizer");
        if (fitsOlderFiles(definition, roberta)) {
          ObjectNode ids = model.path("vocab").deepCopy();
          int end = vocabulary.id(TokenizerFiles.END_OF_TEXT);
          if (end >= 0) {
            ids.put(TokenizerFiles.END_OF_TEXT, end);
          }
          AtomicFiles.write(directory.resolve("vocab.json"), Json.line(ids));
          AtomicFiles.write(directory.resolve("merges.txt"), merges(model.path("merges")));
        }
      }
      default -> config.put("tokenizer_class", "PreTrainedTokenizerFast");
    }
    AtomicFiles.write(directory.resolve("tokenizer_config.json"), Json.pretty(config));
  }

  /**
   * vocab.json can say that there is an end token, or be known by RoBERTa's special tokens, but not
   * that others are added ones.
   */
  private static boolean fitsOlderFiles(ObjectNode definition, boolean roberta) {
    JsonNode words = definition.path("model").path("vocab");
    int specials = 0;
    for (JsonNode added : definition.path("added_tokens")) {
      String token = added.path("content").asText("");
      if (TokenizerFiles.ROBERTA_SPECIALS.contains(token) && words.has(token)) {
        specials++;
      } else if (!token.equals(TokenizerFiles.END_OF_TEXT)) {
        return false;
      }
    }
    return specials == (roberta ? TokenizerFiles.ROBERTA_SPECIALS.size() : 0);
  }

  private static String merges(JsonNode merges) {
    StringBuilder lines = new StringBuilder("#version: 0.2\n");
    for (JsonNode merge : merges) {
      lines
          .append(
              merge.isArray()
                  ? merge.path(0).asText() + " " + merge.path(1).asText()
                  : merge.asText())
          .append('\n');
    }
    return lines.toString();
  }
}
