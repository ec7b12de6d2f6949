package dev.graft.data;

/**
 * What a language model is asked, and what it should write.
 *
 * @param text the prompt, the instruction or the document
 * @param input what an instruction is about, or null
 * @param completion what should be written; null if it is not known
 * @param line where it stands in its file, from 1; 0 if it is from no file
 */
public record PromptExample(String text, String input, String completion, long line) {
  public PromptExample(String text, String completion) {
    this(text, null, completion, 0);
  }
}
