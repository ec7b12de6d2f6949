package dev.graft.text;

import ai.djl.huggingface.tokenizers.jni.CharSpan;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** A definition in the form of tokenizer.json, run by Hugging Face's own library. */
final class HuggingFaceTokenizer implements Tokenizer {
  private static final int PIECE = 1 << 15;

  private final Path file;
  private final ObjectNode definition;
  private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer engine;
  private final Vocabulary vocabulary;
  private final String family;
  private final boolean cuttable;
  private final String fingerprint;
  private final Map<String, Integer> named;

  private HuggingFaceTokenizer(Path file, ObjectNode definition) {
    this.file = file;
    this.definition = definition;
    byte[] bytes = Json.bytes(definition);
    vocabulary = new Vocabulary(file, definition);
    family = TokenizerFamily.of(definition);
    cuttable = TokenizerFamily.isCuttable(definition);
    named = TokenizerFiles.specialIds(vocabulary);
    fingerprint = sha256(bytes);
    DefinitionCheck.check(file, definition);
    engine = load(file, bytes);
    try {
      checkAddedTokens();
    } catch (RuntimeException e) {
      engine.close();
      throw e;
    }
  }

  static Tokenizer of(Path file, ObjectNode definition) {
    return new HuggingFaceTokenizer(file, definition);
  }

  private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer load(Path file, byte[] bytes) {
    // The library would otherwise look for a CUDA flavour of itself and ask the network for it.
    for (String[] setting :
        new String[][] {
          {"RUST_FLAVOR", "cpu"}, {"ai.djl.offline", "true"}, {"OPT_OUT_TRACKING", "true"}
        }) {
      System.getProperties().putIfAbsent(setting[0], setting[1]);
    }
    try {
      return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(bytes), Map.of("truncation", "false", "padding", "false"));
    } catch (IOException | RuntimeException e) {
      throw new InvalidInputException(
          file + ": not a usable tokenizer: " + firstLine(e.getMessage()), e);
    }
  }

  /** The library numbers added tokens itself where the file's numbers do not suit it. */
  private void checkAddedTokens() {
    for (JsonNode added : definition.path("added_tokens")) {
      String token = added.path("content").asText();
      if (added.path("special").asBoolean(false) && !token.isEmpty()) {
        int[] ids = encode(token, false).ids();
        if (ids.length != 1 || ids[0] != added.path("id").asInt()) {
          throw InvalidInputException.of(
              file,
              "added token '" + token + "' has the id " + added.path("id") + ", which is not free");
        }
      }
    }
  }

  private static String firstLine(String message) {
    return message == null ? "no reason given" : message.lines().findFirst().orElse("");
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Turns what the library throws at a definition it cannot run into our own exception. */
  private <T> T run(Supplier<T> call) {
    try {
      return call.get();
    } catch (IllegalStateException e) {
      throw new IllegalStateException("the tokenizer of " + file + " was closed", e);
    } catch (RuntimeException e) {
      throw new InvalidInputException(file + ": " + firstLine(e.getMessage()), e);
    }
  }

  /** Half surrogate pairs cannot be written in UTF-8; each becomes one U+FFFD. */
  static String wellFormed(String text) {
    StringBuilder repaired = null;
    for (int i = 0; i < text.length(); i++) {
      if (!Character.isSurrogate(text.charAt(i))) {
        continue;
      }
      if (Character.isSupplementaryCodePoint(text.codePointAt(i))) {
        i++;
      } else {
        repaired = repaired == null ? new StringBuilder(text) : repaired;
        repaired.setCharAt(i, '\uFFFD');
      }
    }
    return repaired == null ? text : repaired.toString();
  }

  @Override
  public Encoding encode(String text, boolean specialTokens) {
    return run(() -> convert(engine.encode(wellFormed(text), specialTokens, false)));
  }

  @Override
  public Encoding encode(String text, String pair, boolean specialTokens) {
    return pair == null
        ? encode(text, specialTokens)
        : run(
            () -> convert(engine.encode(wellFormed(text), wellFormed(pair), specialTokens, false)));
  }

  @Override
  public List<Encoding> encodeAll(List<String> texts, boolean specialTokens) {
    List<Encoding> out = new ArrayList<>(texts.size());
    if (!texts.isEmpty()) {
      List<String> repaired = texts.stream().map(HuggingFaceTokenizer::wellFormed).toList();
      for (ai.djl.huggingface.tokenizers.Encoding e :
          run(() -> engine.batchEncode(repaired, specialTokens, false))) {
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

  @Override
  public TokenSpans spans(String text) {
    ai.djl.huggingface.tokenizers.Encoding e =
        run(() -> engine.encode(wellFormed(text), false, false));
    CharSpan[] spans = e.getCharTokenSpans();
    int[] begins = new int[spans.length];
    int[] ends = new int[spans.length];
    // The library counts code points.
    int[] places = text.codePointCount(0, text.length()) == text.length() ? null : places(text);
    int last = 0;
    for (int i = 0; i < spans.length; i++) {
      int begin = spans[i] == null ? last : spans[i].getStart();
      int end = spans[i] == null ? last : spans[i].getEnd();
      begins[i] = places == null ? begin : places[begin];
      ends[i] = places == null ? end : places[end];
      last = end;
    }
    return new TokenSpans(ints(e.getIds()), begins, ends);
  }

  /** Where each code point begins, and the end. */
  private static int[] places(String text) {
    int[] places = new int[text.codePointCount(0, text.length()) + 1];
    for (int i = 1; i < places.length; i++) {
      places[i] = text.offsetByCodePoints(places[i - 1], 1);
    }
    return places;
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
    if (text.length() <= PIECE || !cuttable) {
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

  /** The next place no token reaches across; a text without any stays whole. */
  private int cut(String text, int from) {
    int to = from + PIECE;
    if (to >= text.length()) {
      return text.length();
    }
    if (family.equals(TokenizerFamily.CHAR)) {
      return Character.isLowSurrogate(text.charAt(to)) ? to + 1 : to;
    }
    while (to < text.length() && !TextPieces.isCut(text, to)) {
      to++;
    }
    return to;
  }

  @Override
  public String decode(int[] tokenIds, boolean skipSpecialTokens) {
    long[] wide = new long[tokenIds.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = tokenIds[i];
    }
    return run(() -> engine.decode(wide, skipSpecialTokens));
  }

  @Override
  public int vocabSize() {
    return vocabulary.size();
  }

  @Override
  public int id(String token) {
    return vocabulary.id(token);
  }

  @Override
  public String token(int id) {
    return vocabulary.token(id);
  }

  @Override
  public boolean isSpecial(int id) {
    return vocabulary.isSpecial(id);
  }

  private int named(String name) {
    return named.getOrDefault(name, -1);
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
    return fingerprint;
  }

  @Override
  public void savePretrained(Path directory) {
    TokenizerWriter.write(directory, definition, vocabulary, named, family);
  }

  @Override
  public void close() {
    engine.close();
  }
}
