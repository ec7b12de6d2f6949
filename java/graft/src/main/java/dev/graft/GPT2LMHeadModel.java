package dev.graft;

import dev.graft.apply.GenerationOptions;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptSource;
import dev.graft.data.PromptTemplate;
import dev.graft.io.ModelDirectory;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import dev.graft.train.Evaluator;
import dev.graft.train.TokenizerFiles;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
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
  /** Beams follow a summary better than draws do. */
  private static final GenerationOptions SUMMARY = GenerationOptions.beams(120, 4);

  /** Validation examples the model writes itself, for ROUGE. */
  private static final int WRITTEN = 64;

  private final Generator generator;
  private volatile PromptTemplate template;

  private GPT2LMHeadModel(Parts parts, PromptTemplate template) {
    super(parts);
    this.template = template;
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
                Network.load(device, path, Task.CAUSAL_LM, options.dtype(), null, options.seed())),
        PromptTemplate.of(path));
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
                Network.create(device, whole, Task.CAUSAL_LM, options.dtype(), options.seed())),
        null);
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

  /** The text around this model's prompts; {@link PromptTemplate#PLAIN} if it was taught none. */
  public PromptTemplate promptTemplate() {
    PromptTemplate taught = template;
    return taught == null ? PromptTemplate.PLAIN : taught;
  }

  /** What the model writes for each prompt, in the template it was taught with. */
  public List<String> complete(List<PromptExample> prompts, GenerationOptions options) {
    synchronized (generator) {
      return generator.complete(prompts, options);
    }
  }

  /**
   * The response to an instruction, in the template the model was taught with.
   *
   * @param input what it is about, or null
   * @param stream hears the text as it grows
   */
  public String respond(
      String instruction, String input, GenerationOptions options, Consumer<String> stream) {
    synchronized (generator) {
      PromptExample prompt = new PromptExample(instruction, input, null, 0);
      return generator.complete(List.of(prompt), options, stream).get(0);
    }
  }

  /** The response to an instruction. */
  public String respond(String instruction, GenerationOptions options) {
    return respond(instruction, null, options, piece -> {});
  }

  /** A summary by 4 beams, of at most 120 tokens. */
  public String summarize(String document) {
    return summarize(List.of(document), SUMMARY).get(0);
  }

  /**
   * A summary of each document, in the template the model was taught with; of a model that was
   * taught none, what it writes behind "TL;DR:". Of a document that is too long the beginning is
   * read.
   */
  public List<String> summarize(List<String> documents, GenerationOptions options) {
    PromptTemplate asked = template == null ? PromptTemplate.SUMMARIZE : template;
    List<PromptExample> prompts =
        documents.stream().map(document -> new PromptExample(document, null)).toList();
    synchronized (generator) {
      return generator.complete(prompts, asked, options, piece -> {});
    }
  }

  /**
   * Trains on prompts with completions; the prompts are read and not learnt. The model is asked in
   * the same template afterwards, and its directory keeps it.
   *
   * @param validation what loss and ROUGE are taken on; may be empty
   * @throws dev.graft.io.InvalidInputException if an example does not fit, or the run directory
   *     cannot be used
   * @throws IllegalStateException if another call is using the model
   */
  public FitResult fit(
      List<PromptExample> train,
      List<PromptExample> validation,
      PromptTemplate prompts,
      TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      PromptSource source =
          PromptSource.of(
              train, prompts, tokenizer(), maxLength(), options.batchSize(), true, options.seed());
      become(config(), network().task(), options.dtype(), options.seed());
      TokenizerFiles files =
          directory -> {
            tokenizer().savePretrained(directory);
            prompts.save(directory);
          };
      try (Evaluator evaluator =
          validation.isEmpty()
              ? null
              : new PromptEvaluator(validation, prompts, tokenizer(), maxLength(), WRITTEN)) {
        TrainingResult result = new Trainer(network(), source, files, evaluator, options).run();
        template = prompts;
        return new FitResult(result, source.truncated(), labels());
      } finally {
        network().disableTraining();
      }
    }
  }

  /** Loss over known completions and ROUGE of what the model writes itself, for each example. */
  public Map<String, Double> evaluate(List<PromptExample> examples) {
    try (Gate.Use use = gate().read("evaluate")) {
      synchronized (network().device()) {
        network().device().activate();
        try (PromptEvaluator evaluator =
            new PromptEvaluator(
                examples, promptTemplate(), tokenizer(), maxLength(), examples.size())) {
          return evaluator.evaluate(network());
        }
      }
    }
  }

  @Override
  public void savePretrained(Path directory) {
    super.savePretrained(directory);
    if (template != null) {
      template.save(directory);
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
