package dev.graft.train;

import java.nio.file.Path;

/**
 * Writes a tokenizer's files into a folder, so that every saved model is complete: {@code
 * tokenizer::savePretrained}. Their bytes tell at a resume whether the tokenizer is the same.
 */
@FunctionalInterface
public interface TokenizerFiles {
  void savePretrained(Path directory);
}
