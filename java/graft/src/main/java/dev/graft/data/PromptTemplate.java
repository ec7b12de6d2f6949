package dev.graft.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * The text around what a model is asked. It stays in the model directory, as {@code
 * prompt_template.json}, so that the model is asked as it was taught.
 *
 * <p>Its parts are encoded one by one, so a prompt has the same tokens whatever it holds, and one
 * that is too long loses the end of its text (of its input, if it has one), not of the template.
 *
 * @param name of the kind of prompt: prompt, instruct or summarize
 * @param prompt holds {@code {text}} once
 * @param promptWithInput holds {@code {text}} and behind it {@code {input}} once; null if prompts
 *     have no input
 * @param completion holds {@code {completion}} once
 */
public record PromptTemplate(
    String name, String prompt, String promptWithInput, String completion) {
  private static final String FILE = "prompt_template.json";
  private static final String TEXT = "{text}";
  private static final String INPUT = "{input}";
  private static final String COMPLETION = "{completion}";

  /** A prompt and its completion as they are. */
  public static final PromptTemplate PLAIN = new PromptTemplate("prompt", TEXT, null, COMPLETION);

  /** An instruction, perhaps with an input, under headings. */
  public static final PromptTemplate INSTRUCT =
      new PromptTemplate(
          "instruct",
          "### Instruction:\n{text}\n\n### Response:\n",
          "### Instruction:\n{text}\n\n### Input:\n{input}\n\n### Response:\n",
          COMPLETION);

  /** A document and "TL;DR:", what GPT-2 was asked for a summary by (Radford et al. 2019, 3.6). */
  public static final PromptTemplate SUMMARIZE =
      new PromptTemplate("summarize", "{text}\nTL;DR:", null, " {completion}");

  public PromptTemplate {
    if (once(prompt, TEXT) < 0
        || once(completion, COMPLETION) < 0
        || (promptWithInput != null
            && !(once(promptWithInput, TEXT) >= 0
                && once(promptWithInput, INPUT) > once(promptWithInput, TEXT)))) {
      throw new IllegalArgumentException(
          "prompt template: expected {text}, then {input}, and {completion}, once each");
    }
  }

  /** Where a placeholder stands; −1 if not exactly once. */
  private static int once(String text, String placeholder) {
    int at = text.indexOf(placeholder);
    return at >= 0 && at == text.lastIndexOf(placeholder) ? at : -1;
  }

  /** A prompt's tokens. */
  public record Encoded(int[] ids, boolean cut) {}

  /**
   * Encodes a prompt.
   *
   * @param most tokens it may have
   * @throws InvalidInputException if the template alone has as many
   */
  public Encoded encode(Tokenizer tokenizer, PromptExample example, int most) {
    boolean both = example.input() != null;
    if (both && promptWithInput == null) {
      throw new InvalidInputException("this model's prompts have no input beside the text");
    }
    String form = both ? promptWithInput : prompt;
    int text = form.indexOf(TEXT);
    int[] before = ids(tokenizer, form.substring(0, text));
    String rest = form.substring(text + TEXT.length());
    // A template's text ends where the template goes on; white space there would be two tokens.
    String asked = this.equals(PLAIN) ? example.text() : example.text().strip();
    int[] open;
    int[] after;
    if (both) {
      int input = rest.indexOf(INPUT);
      before = join(before, ids(tokenizer, asked), ids(tokenizer, rest.substring(0, input)));
      open = ids(tokenizer, example.input().strip());
      after = ids(tokenizer, rest.substring(input + INPUT.length()));
    } else {
      open = ids(tokenizer, asked);
      after = ids(tokenizer, rest);
    }
    int room = most - before.length - after.length;
    if (room < 1 && open.length > room) {
      throw new InvalidInputException(
          "a prompt's fixed part has "
              + (before.length + after.length)
              + " tokens, "
              + most
              + " are there for all of it");
    }
    boolean cut = open.length > room;
    int[] kept = cut ? Arrays.copyOf(open, room) : open;
    return new Encoded(join(before, kept, after), cut);
  }

  /** Encodes a completion, the end token not among it. */
  public int[] encodeCompletion(Tokenizer tokenizer, String text) {
    return ids(tokenizer, completion.replace(COMPLETION, this.equals(PLAIN) ? text : text.strip()));
  }

  private static int[] ids(Tokenizer tokenizer, String text) {
    return text.isEmpty() ? new int[0] : tokenizer.ids(text);
  }

  private static int[] join(int[]... parts) {
    return Arrays.stream(parts).flatMapToInt(IntStream::of).toArray();
  }

  /** By name, for settings and for the file. */
  public ObjectNode toJson() {
    ObjectNode json = Json.object().put("name", name).put("prompt", prompt);
    if (promptWithInput != null) {
      json.put("prompt_with_input", promptWithInput);
    }
    return json.put("completion", completion);
  }

  /** Writes it into a model directory. */
  public void save(Path model) {
    AtomicFiles.write(model.resolve(FILE), Json.pretty(toJson()));
  }

  /** The template of a model directory, or null if it has none. */
  public static PromptTemplate of(Path model) {
    Path file = model.resolve(FILE);
    return Files.isRegularFile(file) ? fromJson(file, Json.readObject(file)) : null;
  }

  /** Reads {@link #toJson} back. */
  public static PromptTemplate fromJson(Path file, ObjectNode json) {
    try {
      return new PromptTemplate(
          json.path("name").asText(),
          json.path("prompt").asText(),
          json.path("prompt_with_input").textValue(),
          json.path("completion").asText());
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }
}
