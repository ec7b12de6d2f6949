/**
 * Tokenizers: loading and saving in the Hugging Face format, encoding and decoding by that
 * project's own library, and training of byte-level BPE, WordPiece and character vocabularies.
 */
package dev.graft.text;
