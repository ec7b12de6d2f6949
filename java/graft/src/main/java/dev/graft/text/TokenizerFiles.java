package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Definitions in the form of tokenizer.json, read, or made from the older vocabulary files, so that
 * one engine encodes them all.
 */
final class TokenizerFiles {
  static final String END_OF_TEXT = "<|endoftext|>";

  /** WordPiece makes [UNK] of words with more characters. */
  static final int LONGEST_WORD = 100;

  /** Of RoBERTa's vocabulary, in the order of the published one. */
  static final List<String> ROBERTA_SPECIALS = List.of("<s>", "<pad>", "</s>", "<unk>", "<mask>");

  private static final Map<String, String[]> SPECIAL_NAMES =
      Map.of(
          "pad_token", new String[] {"[PAD]", "<pad>"},
          "cls_token", new String[] {"[CLS]", "<s>"},
          "sep_token", new String[] {"[SEP]", "</s>"},
          "mask_token", new String[] {"[MASK]", "<mask>"},
          "unk_token", new String[] {"[UNK]", "<unk>", END_OF_TEXT},
          "bos_token", new String[] {END_OF_TEXT, "<s>"},
          "eos_token", new String[] {END_OF_TEXT, "</s>"});

  private TokenizerFiles() {}

  static ObjectNode read(Path file) {
    ObjectNode json = Json.readObject(file);
    JsonNode vocabulary = json.path("model").path("vocab");
    if (!vocabulary.isObject() && !vocabulary.isArray()) {
      throw InvalidInputException.of(file, "there is no model.vocab");
    }
    // Whatever the file asks for: a tokenizer that cuts or pads unasked loses its users' text.
    json.putNull("truncation");
    json.putNull("padding");
    nameModelType((ObjectNode) json.get("model"));
    return json;
  }

  /** Older files, bert-base-uncased's among them, leave the type to be told by the fields. */
  private static void nameModelType(ObjectNode model) {
    if (model.hasNonNull("type")) {
      return;
    }
    if (model.has("merges")) {
      model.put("type", "BPE");
    } else if (model.has("max_input_chars_per_word")) {
      model.put("type", "WordPiece");
    } else {
      model.put("type", model.path("vocab").isArray() ? "Unigram" : "WordLevel");
    }
  }

  /** BERT's vocab.txt: a token a line, its number the id. */
  static ObjectNode wordPiece(Path vocabulary, Path config) {
    // Only \n ends a line: vocabularies hold other characters that Unicode counts as line ends.
    String[] lines = TextReader.read(vocabulary, InputLimits.VOCABULARY_FILE).split("\n", -1);
    int count = lines[lines.length - 1].isEmpty() ? lines.length - 1 : lines.length;
    List<String> tokens = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      tokens.add(lines[i].endsWith("\r") ? lines[i].substring(0, lines[i].length() - 1) : lines[i]);
    }
    JsonNode settings = Files.exists(config) ? Json.readObject(config) : Json.object();
    try {
      ObjectNode json = wordPiece(tokens, settings.path("do_lower_case").asBoolean(true));
      ObjectNode normalizer = (ObjectNode) json.get("normalizer");
      normalizer.put(
          "handle_chinese_chars", settings.path("tokenize_chinese_chars").asBoolean(true));
      if (settings.path("strip_accents").isBoolean()) {
        normalizer.put("strip_accents", settings.path("strip_accents").asBoolean());
      }
      return json;
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(vocabulary, e.getMessage());
    }
  }

  /** A WordPiece definition with BERT's normalisation and template. */
  static ObjectNode wordPiece(List<String> tokens, boolean lowercase) {
    ObjectNode json = definition();
    ObjectNode model = json.putObject("model");
    model
        .put("type", "WordPiece")
        .put("unk_token", "[UNK]")
        .put("continuing_subword_prefix", "##")
        .put("max_input_chars_per_word", LONGEST_WORD);
    ObjectNode vocab = putVocabulary(model, tokens);
    ArrayNode added = (ArrayNode) json.get("added_tokens");
    for (String special : new String[] {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
      if (vocab.has(special)) {
        addSpecial(added, vocab.get(special).asInt(), special);
      } else if (!special.equals("[MASK]")) {
        throw new IllegalArgumentException("the vocabulary lacks " + special);
      }
    }
    json.putObject("normalizer")
        .put("type", "BertNormalizer")
        .put("clean_text", true)
        .put("handle_chinese_chars", true)
        .putNull("strip_accents")
        .put("lowercase", lowercase);
    json.putObject("pre_tokenizer").put("type", "BertPreTokenizer");
    ObjectNode template = json.putObject("post_processor").put("type", "TemplateProcessing");
    ArrayNode single = template.putArray("single");
    templateSpecial(single, "[CLS]", 0);
    templateSequence(single, "A", 0);
    templateSpecial(single, "[SEP]", 0);
    ArrayNode pair = template.putArray("pair");
    templateSpecial(pair, "[CLS]", 0);
    templateSequence(pair, "A", 0);
    templateSpecial(pair, "[SEP]", 0);
    templateSequence(pair, "B", 1);
    templateSpecial(pair, "[SEP]", 1);
    ObjectNode specials = template.putObject("special_tokens");
    for (String special : new String[] {"[CLS]", "[SEP]"}) {
      ObjectNode one = specials.putObject(special).put("id", special);
      one.putArray("ids").add(vocab.get(special).asInt());
      one.putArray("tokens").add(special);
    }
    json.putObject("decoder").put("type", "WordPiece").put("prefix", "##").put("cleanup", true);
    return json;
  }

  private static void templateSpecial(ArrayNode template, String token, int type) {
    template.addObject().putObject("SpecialToken").put("id", token).put("type_id", type);
  }

  private static void templateSequence(ArrayNode template, String name, int type) {
    template.addObject().putObject("Sequence").put("id", name).put("type_id", type);
  }

  /** GPT-2's two files, or RoBERTa's, whose vocabulary holds its special tokens. */
  static ObjectNode bpe(Path vocabulary, Path merges) {
    ObjectNode vocab = Json.readObject(vocabulary);
    int size = vocab.size();
    String[] tokens = new String[size];
    vocab
        .properties()
        .forEach(
            e -> {
              int id = e.getValue().isInt() ? e.getValue().asInt() : -1;
              if (id < 0 || id >= size || tokens[id] != null) {
                throw InvalidInputException.of(
                    vocabulary, "token " + e.getKey() + " has the id " + e.getValue());
              }
              tokens[id] = e.getKey();
            });
    List<String[]> pairs = new ArrayList<>();
    String[] lines = TextReader.read(merges, InputLimits.VOCABULARY_FILE).split("\n");
    for (int i = 0; i < lines.length; i++) {
      String line =
          lines[i].endsWith("\r") ? lines[i].substring(0, lines[i].length() - 1) : lines[i];
      if (line.isEmpty() || line.startsWith("#version")) {
        continue;
      }
      String[] pair = line.split(" ");
      if (pair.length != 2 || !vocab.has(pair[0]) || !vocab.has(pair[1])) {
        throw InvalidInputException.ofLine(merges, i + 1, "expected two tokens of the vocabulary");
      }
      pairs.add(pair);
    }
    ObjectNode json = bpe(List.of(tokens), pairs);
    return ROBERTA_SPECIALS.stream().allMatch(vocab::has) ? roberta(json) : json;
  }

  /** A byte-level BPE definition with RoBERTa's special tokens: {@code <s> … </s>}. */
  private static ObjectNode roberta(ObjectNode json) {
    JsonNode vocab = json.path("model").path("vocab");
    ArrayNode added = json.putArray("added_tokens");
    for (String token : ROBERTA_SPECIALS) {
      addSpecial(added, vocab.get(token).asInt(), token);
      // A mask stands for a word, and takes the blank before it along as words do.
      ((ObjectNode) added.get(added.size() - 1)).put("lstrip", token.equals("<mask>"));
    }
    ObjectNode processor = json.putObject("post_processor");
    processor.put("type", TokenizerFamily.ROBERTA_PROCESSING);
    processor.putArray("sep").add("</s>").add(vocab.get("</s>").asInt());
    processor.putArray("cls").add("<s>").add(vocab.get("<s>").asInt());
    processor.put("trim_offsets", true).put("add_prefix_space", false);
    return json;
  }

  /** A byte-level BPE definition as GPT-2's. */
  static ObjectNode bpe(List<String> tokens, List<String[]> merges) {
    ObjectNode json = definition();
    int end = tokens.indexOf(END_OF_TEXT);
    if (end >= 0) {
      addSpecial((ArrayNode) json.get("added_tokens"), end, END_OF_TEXT);
    }
    json.putNull("normalizer");
    byteLevel(json.putObject("pre_tokenizer"), false);
    byteLevel(json.putObject("post_processor"), true).put("trim_offsets", false);
    byteLevel(json.putObject("decoder"), true);
    ObjectNode model = json.putObject("model");
    model
        .put("type", "BPE")
        .putNull("dropout")
        .putNull("unk_token")
        .put("continuing_subword_prefix", "")
        .put("end_of_word_suffix", "")
        .put("fuse_unk", false)
        .put("byte_fallback", false);
    putVocabulary(model, tokens);
    ArrayNode list = model.putArray("merges");
    for (String[] pair : merges) {
      list.add(pair[0] + " " + pair[1]);
    }
    return json;
  }

  private static ObjectNode byteLevel(ObjectNode node, boolean prefixSpace) {
    return node.put("type", "ByteLevel")
        .put("add_prefix_space", prefixSpace)
        .put("trim_offsets", true)
        .put("use_regex", true);
  }

  /** One token a character. */
  static ObjectNode characters(List<String> tokens, String unknown) {
    ObjectNode json = definition();
    addSpecial((ArrayNode) json.get("added_tokens"), tokens.indexOf(unknown), unknown);
    json.putNull("normalizer");
    ObjectNode split = json.putObject("pre_tokenizer");
    split.put("type", "Split").put("behavior", "Isolated").put("invert", false);
    split.putObject("pattern").put("Regex", TokenizerFamily.EACH_CHARACTER);
    json.putNull("post_processor");
    json.putObject("decoder").put("type", "Fuse");
    ObjectNode model = json.putObject("model");
    model.put("type", "WordLevel").put("unk_token", unknown);
    putVocabulary(model, tokens);
    return json;
  }

  private static ObjectNode definition() {
    ObjectNode json = Json.object();
    json.put("version", "1.0").putNull("truncation").putNull("padding");
    json.putArray("added_tokens");
    return json;
  }

  private static ObjectNode putVocabulary(ObjectNode model, List<String> tokens) {
    ObjectNode vocab = model.putObject("vocab");
    for (int id = 0; id < tokens.size(); id++) {
      if (vocab.has(tokens.get(id))) {
        throw new IllegalArgumentException("token '" + tokens.get(id) + "' stands twice");
      }
      vocab.put(tokens.get(id), id);
    }
    return vocab;
  }

  private static void addSpecial(ArrayNode added, int id, String token) {
    added
        .addObject()
        .put("id", id)
        .put("content", token)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", true);
  }

  /** Ids of the special tokens there are, by the names of special_tokens_map.json. */
  static Map<String, Integer> specialIds(Vocabulary vocabulary) {
    Map<String, Integer> ids = new HashMap<>();
    SPECIAL_NAMES.forEach(
        (name, tokens) -> {
          int id = vocabulary.special(tokens);
          if (id >= 0) {
            ids.put(name, id);
          }
        });
    return Map.copyOf(ids);
  }
}
