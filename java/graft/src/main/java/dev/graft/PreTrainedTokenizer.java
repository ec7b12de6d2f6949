package dev.graft;

import dev.graft.io.InvalidInputException;
import dev.graft.text.Encoding;
import dev.graft.text.TokenSpans;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.List;

/** A tokenizer of a known family. */
abstract sealed class PreTrainedTokenizer implements Tokenizer
    permits BertTokenizer, GPT2Tokenizer {
  private final Tokenizer tokenizer;

  PreTrainedTokenizer(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /** Reads a tokenizer and refuses one of another family. */
  static Tokenizer read(Path directory, String family, String expected) {
    Tokenizer tokenizer = Tokenizer.fromPretrained(directory);
    if (!tokenizer.family().equals(family)) {
      String found = tokenizer.family();
      tokenizer.close();
      throw InvalidInputException.of(
          directory,
          "expected " + expected + ", the tokenizer here is of the kind '" + found + "'");
    }
    return tokenizer;
  }

  /** Ids of a text with the special tokens of its model. */
  public int[] encode(String text) {
    return tokenizer.encode(text, true).ids();
  }

  /** The text of some ids, without special tokens. */
  public String decode(int[] ids) {
    return tokenizer.decode(ids, true);
  }

  @Override
  public Encoding encode(String text, boolean specialTokens) {
    return tokenizer.encode(text, specialTokens);
  }

  @Override
  public Encoding encode(String text, String pair, boolean specialTokens) {
    return tokenizer.encode(text, pair, specialTokens);
  }

  @Override
  public List<Encoding> encodeAll(List<String> texts, boolean specialTokens) {
    return tokenizer.encodeAll(texts, specialTokens);
  }

  @Override
  public TokenSpans spans(String text) {
    return tokenizer.spans(text);
  }

  @Override
  public int[] ids(String text) {
    return tokenizer.ids(text);
  }

  @Override
  public String decode(int[] ids, boolean skipSpecialTokens) {
    return tokenizer.decode(ids, skipSpecialTokens);
  }

  @Override
  public int vocabSize() {
    return tokenizer.vocabSize();
  }

  @Override
  public int id(String token) {
    return tokenizer.id(token);
  }

  @Override
  public String token(int id) {
    return tokenizer.token(id);
  }

  @Override
  public boolean isSpecial(int id) {
    return tokenizer.isSpecial(id);
  }

  @Override
  public int padId() {
    return tokenizer.padId();
  }

  @Override
  public int clsId() {
    return tokenizer.clsId();
  }

  @Override
  public int sepId() {
    return tokenizer.sepId();
  }

  @Override
  public int maskId() {
    return tokenizer.maskId();
  }

  @Override
  public int unkId() {
    return tokenizer.unkId();
  }

  @Override
  public int bosId() {
    return tokenizer.bosId();
  }

  @Override
  public int eosId() {
    return tokenizer.eosId();
  }

  @Override
  public String family() {
    return tokenizer.family();
  }

  @Override
  public String fingerprint() {
    return tokenizer.fingerprint();
  }

  @Override
  public void savePretrained(Path directory) {
    tokenizer.savePretrained(directory);
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
