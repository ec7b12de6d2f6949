package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Text to pretrain on: files of any size, or documents in memory.
 *
 * <pre>
 *   Corpus.of(Path.of("wiki.txt"))                                   // one document a file
 *   Corpus.of(files).documents(DocumentMode.JSONL).field("body")     // one a record
 *   Corpus.ofTexts(List.of("first document", "second document"))
 * </pre>
 */
public final class Corpus {
  private final List<Path> files;
  private final List<String> texts;
  private final DocumentMode documents;
  private final String field;

  private Corpus(List<Path> files, List<String> texts, DocumentMode documents, String field) {
    this.files = files;
    this.texts = texts;
    this.documents = documents;
    this.field = field;
  }

  /** Files in UTF-8, each one document unless {@link #documents} says otherwise. */
  public static Corpus of(Path... files) {
    return of(List.of(files));
  }

  /**
   * Files in UTF-8, each one document unless {@link #documents} says otherwise.
   *
   * @throws InvalidInputException naming the first that is not there
   */
  public static Corpus of(List<Path> files) {
    if (files.isEmpty()) {
      throw new InvalidInputException("a corpus needs at least one file");
    }
    for (Path file : files) {
      if (!Files.isRegularFile(file)) {
        throw InvalidInputException.of(
            file, Files.isDirectory(file) ? "a folder; name its files" : "no such file");
      }
    }
    return new Corpus(List.copyOf(files), null, DocumentMode.FILE, "text");
  }

  /** Documents in memory. */
  public static Corpus ofTexts(List<String> texts) {
    if (texts.stream().allMatch(String::isEmpty)) {
      throw new InvalidInputException("a corpus needs at least one text that is not empty");
    }
    return new Corpus(null, List.copyOf(texts), DocumentMode.FILE, "text");
  }

  /** The same files with another idea of a document. */
  public Corpus documents(DocumentMode mode) {
    requireFiles("documents");
    return new Corpus(files, null, mode, field);
  }

  /** The field of a JSON Lines record that holds the text; {@code "text"} if not told. */
  public Corpus field(String name) {
    requireFiles("field");
    return new Corpus(files, null, documents, name);
  }

  private void requireFiles(String what) {
    if (files == null) {
      throw new IllegalStateException(what + ": of texts in memory each is a document");
    }
  }

  /** The files; empty for texts in memory. */
  public List<Path> files() {
    return files == null ? List.of() : files;
  }

  public DocumentMode documents() {
    return documents;
  }

  public String field() {
    return field;
  }

  /** Names it in messages. */
  @Override
  public String toString() {
    if (files == null) {
      return "the texts";
    }
    return files.size() == 1 ? files.get(0).toString() : files.toString();
  }

  /** Hands on its documents, in order. */
  public void read(Documents.Sink sink) {
    if (files != null) {
      Documents.read(files, documents, field, sink);
      return;
    }
    for (String text : texts) {
      sink.text(text);
      sink.endOfDocument();
    }
  }

  /**
   * Encodes it into a directory of token shards.
   *
   * @throws InvalidInputException if there is no token in it
   */
  public TokenShards encode(Tokenizer tokenizer, Path directory) {
    return TokenShards.build(this, tokenizer, directory);
  }
}
