package dev.graft;

import dev.graft.apply.GenerationOptions;
import dev.graft.apply.TextGenerator;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptTemplate;
import dev.graft.model.Network;
import java.util.List;
import java.util.function.Consumer;

/**
 * Writes for one thread, over the shared weights of a {@link GPT2LMHeadModel}. Cheap beside the
 * model; make one a thread and close it before the model, or let the model close it.
 */
public final class Generator implements AutoCloseable {
  private final GPT2LMHeadModel model;
  private final Worker<Tool> worker;

  /** A text generator holds nothing between two calls. */
  private record Tool(TextGenerator generator) implements AutoCloseable {
    @Override
    public void close() {}
  }

  Generator(GPT2LMHeadModel model, String name, int threads) {
    this.model = model;
    this.worker = new Worker<>(model, name, threads, network -> tool(network, model));
  }

  private static Tool tool(Network network, GPT2LMHeadModel model) {
    return new Tool(new TextGenerator(network, model.tokenizer()));
  }

  /** What follows the prompt; see {@link GPT2LMHeadModel#generate(String, GenerationOptions)}. */
  public String generate(String prompt, GenerationOptions options) {
    return worker.call("generate", tool -> tool.generator().generate(prompt, options));
  }

  /**
   * What follows the prompt, told while it is written.
   *
   * @param stream hears pieces of whole characters, on the calling thread
   */
  public String generate(String prompt, GenerationOptions options, Consumer<String> stream) {
    return worker.call("generate", tool -> tool.generator().generate(prompt, options, stream));
  }

  /** What follows each prompt, written side by side. */
  public List<String> generate(List<String> prompts, GenerationOptions options) {
    return worker.call("generate", tool -> tool.generator().generate(prompts, options));
  }

  /** See {@link GPT2LMHeadModel#complete}. */
  public List<String> complete(List<PromptExample> prompts, GenerationOptions options) {
    return complete(prompts, options, piece -> {});
  }

  List<String> complete(
      List<PromptExample> prompts, GenerationOptions options, Consumer<String> stream) {
    return complete(prompts, model.promptTemplate(), options, stream);
  }

  List<String> complete(
      List<PromptExample> prompts,
      PromptTemplate template,
      GenerationOptions options,
      Consumer<String> stream) {
    return worker.call(
        "complete", tool -> tool.generator().complete(prompts, template, options, stream));
  }

  /** Frees what it holds; the weights stay. */
  @Override
  public void close() {
    worker.close();
  }
}
