package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;

/** What kind of tokenizer a definition is. */
final class TokenizerFamily {
  static final String BERT = "bert";
  static final String GPT2 = "gpt2";
  static final String CHAR = "char";
  static final String OTHER = "other";

  /** What puts RoBERTa's special tokens around a text. */
  static final String ROBERTA_PROCESSING = "RobertaProcessing";

  /** The pattern that makes every character a word. */
  static final String EACH_CHARACTER = "[\\s\\S]";

  private TokenizerFamily() {}

  static String of(JsonNode definition) {
    JsonNode split = definition.path("pre_tokenizer");
    return switch (definition.path("model").path("type").asText("")) {
      case "WordPiece" -> BERT;
      case "BPE" -> split.toString().contains("ByteLevel") ? GPT2 : OTHER;
      case "WordLevel" ->
          split.path("pattern").path("Regex").asText("").equals(EACH_CHARACTER) ? CHAR : OTHER;
      default -> OTHER;
    };
  }

  /** Whether it is RoBERTa's kind of byte-level BPE. */
  static boolean isRoberta(JsonNode definition) {
    return of(definition).equals(GPT2)
        && definition.path("post_processor").path("type").asText("").equals(ROBERTA_PROCESSING);
  }

  /**
   * Whether a text may be cut where {@link TextPieces} does. Later byte-level vocabularies split by
   * patterns of their own, some of which reach over a line end.
   */
  static boolean isCuttable(JsonNode definition) {
    for (JsonNode added : definition.path("added_tokens")) {
      if (added.path("rstrip").asBoolean(false)
          || added.path("content").asText("").chars().anyMatch(Character::isWhitespace)) {
        return false;
      }
    }
    JsonNode split = definition.path("pre_tokenizer");
    String normalizer = definition.path("normalizer").path("type").asText("");
    return switch (of(definition)) {
      case BERT ->
          split.path("type").asText("").equals("BertPreTokenizer")
              && normalizer.equals("BertNormalizer");
      case GPT2 ->
          split.path("type").asText("").equals("ByteLevel")
              && !split.path("add_prefix_space").asBoolean(true)
              && split.path("use_regex").asBoolean(true)
              && normalizer.isEmpty();
      case CHAR -> normalizer.isEmpty();
      default -> false;
    };
  }
}
