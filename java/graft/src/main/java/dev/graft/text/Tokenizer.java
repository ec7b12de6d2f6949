package dev.graft.text;

import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Text to token ids and back. */
public interface Tokenizer extends AutoCloseable {
  /**
   * Tokens of a text; with {@code specialTokens} as a model wants them, for example [CLS] … [SEP].
   */
  Encoding encode(String text, boolean specialTokens);

  /** Tokens of two texts; {@code pair} may be null. */
  Encoding encode(String text, String pair, boolean specialTokens);

  /** Tokens of many texts, in order. */
  List<Encoding> encodeAll(List<String> texts, boolean specialTokens);

  /** Tokens of a text without special tokens, with the characters each stands for. */
  TokenSpans spans(String text);

  /**
   * Ids of a text of any length without special tokens. Long texts go through in pieces, cut where
   * no token can reach across.
   */
  int[] ids(String text);

  String decode(int[] ids, boolean skipSpecialTokens);

  /** One more than the highest id. */
  int vocabSize();

  /** The id of a token, −1 if there is none. */
  int id(String token);

  /** The token of an id, null if there is none. */
  String token(int id);

  boolean isSpecial(int id);

  /** −1 if there is none; the same for the others. */
  int padId();

  int clsId();

  int sepId();

  int maskId();

  int unkId();

  int bosId();

  /** The token that ends a text, GPT-2's {@code <|endoftext|>}. */
  int eosId();

  /**
   * {@code "bert"} (WordPiece), {@code "gpt2"} (byte-level BPE), {@code "char"} or {@code "other"}.
   */
  String family();

  /** SHA-256 of the definition, to tell whether token ids mean the same. */
  String fingerprint();

  /** Writes tokenizer.json and the files older software reads, each atomically. */
  void savePretrained(Path directory);

  @Override
  void close();

  /** Whether a directory holds files {@link #fromPretrained} reads. */
  static boolean isIn(Path directory) {
    return Stream.of("tokenizer.json", "vocab.txt", "vocab.json", "encoder.json")
        .anyMatch(name -> Files.exists(directory.resolve(name)));
  }

  /**
   * Reads {@code tokenizer.json}, or GPT-2's {@code vocab.json} and {@code merges.txt} (also {@code
   * encoder.json}, {@code vocab.bpe}), or BERT's {@code vocab.txt}.
   */
  static Tokenizer fromPretrained(Path directory) {
    Path path = ModelDirectory.resolve(directory, Hub.Part.TOKENIZER).path();
    Path json = path.resolve("tokenizer.json");
    if (Files.exists(json)) {
      return HuggingFaceTokenizer.of(json, TokenizerFiles.read(json));
    }
    for (String[] names :
        new String[][] {{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}}) {
      if (Files.exists(path.resolve(names[0])) && Files.exists(path.resolve(names[1]))) {
        return HuggingFaceTokenizer.of(
            path.resolve(names[0]),
            TokenizerFiles.bpe(path.resolve(names[0]), path.resolve(names[1])));
      }
    }
    Path vocabulary = path.resolve("vocab.txt");
    if (Files.exists(vocabulary)) {
      return HuggingFaceTokenizer.of(
          vocabulary, TokenizerFiles.wordPiece(vocabulary, path.resolve("tokenizer_config.json")));
    }
    throw InvalidInputException.of(
        path,
        "there is no tokenizer here: expected tokenizer.json, vocab.txt, or vocab.json and merges.txt");
  }
}
