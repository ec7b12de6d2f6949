package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** A definition in the form of tokenizer.json, run by Hugging Face's own library. */
final class HuggingFaceTokenizer implements Tokenizer {
  private static final int PIECE = 1 << 15;

  private final ObjectNode definition;
  private final byte[] bytes;
  private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer engine;
  private final Map<String, Integer> ids = new HashMap<>();
  private final String[] tokens;
  private final BitSet special = new BitSet();
  private final String family;

  private HuggingFaceTokenizer(Path file, ObjectNode definition) {
    this.definition = definition;
    this.bytes = Json.line(definition).getBytes(StandardCharsets.UTF_8);
    int size = readVocabulary(file);
    tokens = new String[size];
    ids.forEach((token, id) -> tokens[id] = token);
    family = family(definition);
    engine = load(file, bytes);
  }

  static Tokenizer of(Path file, ObjectNode definition) {
    return new HuggingFaceTokenizer(file, definition);
  }

  private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer load(Path file, byte[] bytes) {
    // The library would otherwise look for a CUDA flavour of itself and ask the network for it.
    System.setProperty("RUST_FLAVOR", "cpu");
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    try {
      return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(bytes), Map.of("truncation", "false", "padding", "false"));
    } catch (IOException | RuntimeException e) {
      throw new InvalidInputException(
          file + ": not a usable tokenizer: " + firstLine(e.getMessage()), e);
    }
  }

  private static String firstLine(String message) {
    return message == null ? "no reason given" : message.lines().findFirst().orElse("");
  }

  private int readVocabulary(Path file) {
    int[] largest = {-1};
    JsonNode vocabulary = definition.path("model").path("vocab");
    if (vocabulary.isArray()) { // Unigram: [[token, score], ...]
      for (int id = 0; id < vocabulary.size(); id++) {
        put(file, vocabulary.get(id).path(0).asText(), id, largest);
      }
    } else {
      vocabulary.properties().forEach(e -> put(file, e.getKey(), number(file, e), largest));
    }
    for (JsonNode added : definition.path("added_tokens")) {
      int id = added.path("id").asInt(-1);
      put(file, added.path("content").asText(), id, largest);
      if (added.path("special").asBoolean(false)) {
        special.set(id);
      }
    }
    if (ids.isEmpty()) {
      throw InvalidInputException.of(file, "the vocabulary is empty");
    }
    return largest[0] + 1;
  }

  private static int number(Path file, Map.Entry<String, JsonNode> entry) {
    if (!entry.getValue().isInt()) {
      throw InvalidInputException.of(
          file, "token '" + entry.getKey() + "' has the id " + entry.getValue());
    }
    return entry.getValue().asInt();
  }

  private void put(Path file, String token, int id, int[] largest) {
    if (id < 0 || id > 1 << 24) {
      throw InvalidInputException.of(file, "token '" + token + "' has the id " + id);
    }
    ids.put(token, id);
    largest[0] = Math.max(largest[0], id);
  }

  private static String family(ObjectNode definition) {
    String model = definition.path("model").path("type").asText("");
    boolean byteLevel = definition.path("pre_tokenizer").toString().contains("ByteLevel");
    if (model.equals("WordPiece") || definition.path("normalizer").toString().contains("Bert")) {
      return "bert";
    }
    if (byteLevel) {
      return "gpt2";
    }
    return model.equals("WordLevel")
            && definition
                .path("pre_tokenizer")
                .path("pattern")
                .path("Regex")
                .asText("")
                .equals("[\\s\\S]")
        ? "char"
        : "other";
  }

  @Override
  public Encoding encode(String text, boolean specialTokens) {
    return convert(engine.encode(text, specialTokens, false));
  }

  @Override
  public Encoding encode(String text, String pair, boolean specialTokens) {
    return pair == null
        ? encode(text, specialTokens)
        : convert(engine.encode(text, pair, specialTokens, false));
  }

  @Override
  public List<Encoding> encodeAll(List<String> texts, boolean specialTokens) {
    List<Encoding> out = new ArrayList<>(texts.size());
    if (!texts.isEmpty()) {
      for (ai.djl.huggingface.tokenizers.Encoding e :
          engine.batchEncode(texts, specialTokens, false)) {
        out.add(convert(e));
      }
    }
    return out;
  }

  private static Encoding convert(ai.djl.huggingface.tokenizers.Encoding e) {
    return new Encoding(
        ints(e.getIds()),
        ints(e.getTypeIds()),
        ints(e.getSpecialTokenMask()),
        ints(e.getWordIds()));
  }

  private static int[] ints(long[] values) {
    int[] out = new int[values.length];
    for (int i = 0; i < out.length; i++) {
      out[i] = Math.toIntExact(values[i]);
    }
    return out;
  }

  @Override
  public int[] ids(String text) {
    if (text.length() <= PIECE || family.equals("other")) {
      return encode(text, false).ids();
    }
    int[] out = new int[text.length() / 2];
    int count = 0;
    int from = 0;
    while (from < text.length()) {
      int to = cut(text, from);
      int[] part = encode(text.substring(from, to), false).ids();
      if (count + part.length > out.length) {
        out = Arrays.copyOf(out, Math.max(2 * out.length, count + part.length));
      }
      System.arraycopy(part, 0, out, count, part.length);
      count += part.length;
      from = to;
    }
    return Arrays.copyOf(out, count);
  }

  /**
   * A place where the text may be cut without a change of tokens: before white space that follows
   * something else. No pre-token of these families reaches across it. A text without any stays
   * whole.
   */
  private int cut(String text, int from) {
    int to = from + PIECE;
    if (to >= text.length()) {
      return text.length();
    }
    if (family.equals("char")) {
      return Character.isLowSurrogate(text.charAt(to)) ? to + 1 : to;
    }
    while (to < text.length()
        && !(isAsciiSpace(text.charAt(to)) && !Character.isWhitespace(text.charAt(to - 1)))) {
      to++;
    }
    return to;
  }

  private static boolean isAsciiSpace(char c) {
    return c == ' ' || c == '\n';
  }

  @Override
  public String decode(int[] tokenIds, boolean skipSpecialTokens) {
    long[] wide = new long[tokenIds.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = tokenIds[i];
    }
    return engine.decode(wide, skipSpecialTokens);
  }

  @Override
  public int vocabSize() {
    return tokens.length;
  }

  @Override
  public int id(String token) {
    return ids.getOrDefault(token, -1);
  }

  @Override
  public String token(int id) {
    return id >= 0 && id < tokens.length ? tokens[id] : null;
  }

  @Override
  public boolean isSpecial(int id) {
    return special.get(id);
  }

  private int named(String name) {
    for (String token : TokenizerFiles.SPECIAL_NAMES.get(name)) {
      int id = id(token);
      if (id >= 0) {
        return id;
      }
    }
    return -1;
  }

  @Override
  public int padId() {
    return named("pad_token");
  }

  @Override
  public int clsId() {
    return named("cls_token");
  }

  @Override
  public int sepId() {
    return named("sep_token");
  }

  @Override
  public int maskId() {
    return named("mask_token");
  }

  @Override
  public int unkId() {
    return named("unk_token");
  }

  @Override
  public int bosId() {
    return named("bos_token");
  }

  @Override
  public int eosId() {
    return named("eos_token");
  }

  @Override
  public String family() {
    return family;
  }

  @Override
  public String fingerprint() {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void savePretrained(Path directory) {
    AtomicFiles.write(directory.resolve("tokenizer.json"), Json.pretty(definition));
    ObjectNode map = Json.object();
    TokenizerFiles.SPECIAL_NAMES.keySet().stream()
        .sorted()
        .forEach(
            name -> {
              int id = named(name);
              if (id >= 0) {
                map.put(name, tokens[id]);
              }
            });
    AtomicFiles.write(directory.resolve("special_tokens_map.json"), Json.pretty(map));
    ObjectNode config = map.deepCopy();
    JsonNode model = definition.path("model");
    if (family.equals("bert")) {
      config.put("tokenizer_class", "BertTokenizer");
      config.put("do_lower_case", definition.path("normalizer").path("lowercase").asBoolean(false));
      AtomicFiles.write(directory.resolve("vocab.txt"), String.join("\n", tokens) + "\n");
    } else if (family.equals("gpt2")) {
      config.put("tokenizer_class", "GPT2Tokenizer");
      AtomicFiles.write(directory.resolve("vocab.json"), Json.line(model.path("vocab")));
      StringBuilder merges = new StringBuilder("#version: 0.2\n");
      for (JsonNode merge : model.path("merges")) {
        merges
            .append(
                merge.isArray()
                    ? merge.get(0).asText() + " " + merge.get(1).asText()
                    : merge.asText())
            .append('\n');
      }
      AtomicFiles.write(directory.resolve("merges.txt"), merges.toString());
    } else {
      config.put("tokenizer_class", "PreTrainedTokenizerFast");
    }
    AtomicFiles.write(directory.resolve("tokenizer_config.json"), Json.pretty(config));
  }

  @Override
  public void close() {
    engine.close();
  }
}
