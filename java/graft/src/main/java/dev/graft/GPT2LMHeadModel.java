package dev.graft;

import dev.graft.apply.GenerationOptions;
import dev.graft.io.ModelDirectory;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/**
 * GPT-2: writes on from a prompt, and learns the next token of a corpus.
 *
 * <pre>
 *   try (GPT2LMHeadModel model = GPT2LMHeadModel.fromPretrained("my-gpt2")) {
 *     model.fit(Corpus.of(Path.of("poems.txt")), null);
 *     model.generate("Shall I compare thee", GenerationOptions.defaults(), System.out::print);
 *     model.savePretrained("my-poet");
 *   }
 * </pre>
 */
public final class GPT2LMHeadModel extends LanguageModel {
  private final Generator generator;

  private GPT2LMHeadModel(Parts parts) {
    super(parts);
    generator = new Generator(this, "GPT2LMHeadModel", options().threads());
  }

  /** Reads a model directory. */
  public static GPT2LMHeadModel fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory).path());
  }

  /** Reads a model directory. */
  public static GPT2LMHeadModel fromPretrained(Path directory) {
    return fromPretrained(directory, ModelOptions.defaults());
  }

  /**
   * Reads a model directory.
   *
   * @throws dev.graft.io.InvalidInputException in one line if it is no directory, or a file of it
   *     is missing or broken
   */
  public static GPT2LMHeadModel fromPretrained(Path directory, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    return new GPT2LMHeadModel(
        Parts.read(
            options,
            path,
            List.of("gpt2"),
            device ->
                Network.load(device, path, Task.CAUSAL_LM, options.dtype(), null, options.seed())));
  }

  /** A new network; see the overload. */
  public static GPT2LMHeadModel create(Gpt2Config config, Tokenizer tokenizer) {
    return create(config, tokenizer, ModelOptions.defaults());
  }

  /**
   * A new network.
   *
   * @param config its shape; the vocabulary size is replaced by the tokenizer's
   * @param tokenizer stays the caller's: close it after the model
   */
  public static GPT2LMHeadModel create(
      Gpt2Config config, Tokenizer tokenizer, ModelOptions options) {
    Gpt2Config whole =
        config
            .withVocabSize(tokenizer.vocabSize())
            .withSpecialTokens(tokenizer.bosId(), tokenizer.eosId());
    return new GPT2LMHeadModel(
        Parts.make(
            options,
            tokenizer,
            false,
            device ->
                Network.create(device, whole, Task.CAUSAL_LM, options.dtype(), options.seed())));
  }

  /** What follows the prompt, by {@link GenerationOptions#defaults()}. */
  public String generate(String prompt) {
    return generate(prompt, GenerationOptions.defaults());
  }

  /**
   * What follows the prompt. Of a prompt longer than the model only the end is read, and a text
   * that outgrows it goes on from its last half.
   */
  public String generate(String prompt, GenerationOptions options) {
    synchronized (generator) {
      return generator.generate(prompt, options);
    }
  }

  /**
   * What follows the prompt, told while it is written.
   *
   * @param stream hears pieces of whole characters, on the calling thread
   */
  public String generate(String prompt, GenerationOptions options, Consumer<String> stream) {
    synchronized (generator) {
      return generator.generate(prompt, options, stream);
    }
  }

  /** What follows each prompt, written side by side. */
  public List<String> generate(List<String> prompts, GenerationOptions options) {
    synchronized (generator) {
      return generator.generate(prompts, options);
    }
  }

  /** A generator for another thread, with all of the model's CPU threads. */
  public Generator generator() {
    return generator(options().threads());
  }

  /**
   * A generator for another thread. Many at once are fastest with few threads each.
   *
   * @param threads CPU threads it uses; 0 for all
   */
  public Generator generator(int threads) {
    return new Generator(this, "Generator", threads);
  }
}
