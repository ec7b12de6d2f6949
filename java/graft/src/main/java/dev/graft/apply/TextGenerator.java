package dev.graft.apply;

import dev.graft.data.PromptExample;
import dev.graft.data.PromptTemplate;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Decoder;
import dev.graft.model.Network;
import dev.graft.program.Ops.Sampling;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes on from prompts. When a text outgrows the model's positions, it goes on from its last half
 * positions, read anew. Of a prompt longer than the model only the end is read, which the log says.
 * A beam search ends where the model's positions do.
 */
public final class TextGenerator {
  private static final Logger LOG = LoggerFactory.getLogger(TextGenerator.class);

  /** Tokens decoded again for each new one, at least. */
  private static final int WINDOW = 16;

  private final Network network;
  private final Tokenizer tokenizer;

  public TextGenerator(Network network, Tokenizer tokenizer) {
    this.network = network;
    this.tokenizer = tokenizer;
  }

  /** What follows the prompt. */
  public String generate(String prompt, GenerationOptions options) {
    return generate(prompt, options, piece -> {});
  }

  /**
   * What follows the prompt.
   *
   * @param stream hears the text as it grows, in pieces of whole characters
   */
  public String generate(String prompt, GenerationOptions options, Consumer<String> stream) {
    return generate(List.of(prompt), options, stream).get(0);
  }

  /** What follows each prompt, written side by side. */
  public List<String> generate(List<String> prompts, GenerationOptions options) {
    return generate(prompts, options, piece -> {});
  }

  /**
   * What follows each prompt in its template, white space at the ends left out. A prompt that
   * leaves no room for {@code maxNewTokens} loses the end of its text, but keeps half the model's
   * positions.
   */
  public List<String> complete(
      List<PromptExample> prompts, PromptTemplate template, GenerationOptions options) {
    return complete(prompts, template, options, piece -> {});
  }

  /**
   * The same.
   *
   * @param stream hears the text as it grows; of several prompts, all of them
   */
  public List<String> complete(
      List<PromptExample> prompts,
      PromptTemplate template,
      GenerationOptions options,
      Consumer<String> stream) {
    int positions = network.config().maxPositions();
    int most = Math.max(1, Math.max(positions / 2, positions - options.maxNewTokens()));
    List<int[]> ids = new ArrayList<>();
    for (PromptExample prompt : prompts) {
      PromptTemplate.Encoded encoded = template.encode(tokenizer, prompt, most);
      if (encoded.cut()) {
        LOG.warn("a prompt is longer than the model takes and was cut to {} tokens", most);
      }
      ids.add(encoded.ids());
    }
    return write(ids, options, stream).stream().map(String::strip).toList();
  }

  /** One text being written. */
  private final class Draft {
    private final List<Integer> context = new ArrayList<>();
    private final StringBuilder text = new StringBuilder();

    /** Tokens whose text may still change, and where it begins: decoding all again is quadratic. */
    private final List<Integer> open = new ArrayList<>();

    private int openFrom;
    private int written;
    private int streamed;
    private boolean done;

    Draft(int[] prompt, int capacity) {
      for (int id : last(prompt, capacity - 1)) {
        context.add(id);
      }
    }

    void add(int token, GenerationOptions options, Consumer<String> stream) {
      if (done) {
        return;
      }
      if (token == tokenizer.eosId()) {
        done = true;
      } else {
        context.add(token);
        open.add(token);
        text.setLength(openFrom);
        text.append(tokenizer.decode(array(open), true));
        closeWindow();
        done = ++written >= options.maxNewTokens();
      }
      int end = text.length();
      for (String stop : options.stop()) {
        // What was streamed holds no beginning of a stop string.
        int at = stop.isEmpty() ? -1 : text.indexOf(stop, streamed);
        if (at >= 0 && at < end) {
          end = at;
          done = true;
        }
      }
      text.setLength(end);
      int ready = done ? end : settled(options);
      if (ready > streamed) {
        stream.accept(text.substring(streamed, ready));
        streamed = ready;
      }
    }

    /** The texts of characters and of bytes concatenate, where no character is cut. */
    private void closeWindow() {
      boolean concatenates = tokenizer.family().equals("gpt2") || tokenizer.family().equals("char");
      if (concatenates
          && open.size() >= WINDOW
          && text.length() > 0
          && text.charAt(text.length() - 1) != '\uFFFD') {
        openFrom = text.length();
        open.clear();
      }
    }

    /** Text that later tokens cannot change: no half character, no beginning of a stop string. */
    private int settled(GenerationOptions options) {
      int end = text.length();
      while (end > 0 && text.charAt(end - 1) == '\uFFFD') {
        end--;
      }
      int held = 0;
      for (String stop : options.stop()) {
        for (int n = Math.min(stop.length() - 1, end); n > held; n--) {
          if (stop.startsWith(text.substring(end - n, end))) {
            held = n;
          }
        }
      }
      return end - held;
    }
  }

  private int[] begin(int[] ids) {
    if (ids.length > 0) {
      return ids;
    }
    int start = tokenizer.bosId() >= 0 ? tokenizer.bosId() : tokenizer.eosId();
    if (start < 0) {
      throw new InvalidInputException(
          "the prompt has no token, and this model has none to begin with; give a prompt");
    }
    return new int[] {start};
  }

  /** The last tokens of a prompt, at most so many: what follows depends most on them. */
  private int[] last(int[] ids, int most) {
    if (ids.length > most) {
      LOG.warn(
          "the prompt has {} tokens; only its last {} are read, for the model has {} positions",
          ids.length,
          most,
          network.config().maxPositions());
    }
    return Arrays.copyOfRange(ids, Math.max(0, ids.length - most), ids.length);
  }

  private static int[] array(List<Integer> list) {
    return list.stream().mapToInt(Integer::intValue).toArray();
  }

  private List<String> generate(
      List<String> prompts, GenerationOptions options, Consumer<String> stream) {
    return write(prompts.stream().map(tokenizer::ids).toList(), options, stream);
  }

  private List<String> write(
      List<int[]> given, GenerationOptions options, Consumer<String> stream) {
    if (given.isEmpty()) {
      return List.of();
    }
    List<int[]> prompts = given.stream().map(this::begin).toList();
    if (options.beams() != null) {
      List<String> texts = search(prompts, options);
      stream.accept(texts.get(0));
      return texts;
    }
    Sampling sampling =
        new Sampling(
            (float) options.temperature(),
            options.topK(),
            (float) options.topP(),
            (float) options.repetitionPenalty(),
            0);
    try (Decoder decoder = new Decoder(network, prompts.size(), sampling, options.seed())) {
      int capacity = decoder.capacity();
      if (capacity < 2) {
        throw new InvalidInputException("a model of one position cannot write");
      }
      List<Draft> drafts = new ArrayList<>();
      for (int[] prompt : prompts) {
        drafts.add(new Draft(prompt, capacity));
      }
      int[] next = decoder.prefill(contexts(drafts, capacity, false));
      while (true) {
        for (int b = 0; b < drafts.size(); b++) {
          drafts.get(b).add(next[b], options, stream);
        }
        if (drafts.stream().allMatch(d -> d.done)) {
          return drafts.stream().map(d -> d.text.toString()).toList();
        }
        boolean full = false;
        for (int b = 0; b < drafts.size(); b++) {
          full |= decoder.length(b) >= capacity;
        }
        next =
            full
                ? decoder.prefill(contexts(drafts, capacity, true))
                : decoder.step(Arrays.copyOf(next, next.length));
      }
    }
  }

  /** A search cannot slide: at least half of the positions are the prompt's. */
  private List<String> search(List<int[]> prompts, GenerationOptions options) {
    int positions = network.config().maxPositions();
    if (positions < 2) {
      throw new InvalidInputException("a model of one position cannot write");
    }
    int most = Math.max(positions / 2, positions - options.maxNewTokens());
    int[][] ids = prompts.stream().map(prompt -> last(prompt, most)).toArray(int[][]::new);
    int longest = Arrays.stream(ids).mapToInt(p -> p.length).max().orElse(0);
    int room = Math.min(options.maxNewTokens(), positions - longest);
    List<String> stops = options.stop().stream().filter(stop -> !stop.isEmpty()).toList();
    BeamSearch search =
        new BeamSearch(
            network,
            options.beams(),
            room,
            options.repetitionPenalty(),
            tokenizer.eosId(),
            tokens -> !stops.isEmpty() && firstStop(tokenizer.decode(tokens, true), stops) >= 0);
    List<String> texts = new ArrayList<>();
    for (BeamSearch.Hypothesis best : search.search(ids)) {
      String text = tokenizer.decode(best.tokens(), true);
      int end = firstStop(text, stops);
      texts.add(end < 0 ? text : text.substring(0, end));
    }
    return texts;
  }

  private static int firstStop(String text, List<String> stops) {
    int first = -1;
    for (String stop : stops) {
      int at = text.indexOf(stop);
      first = at >= 0 && (first < 0 || at < first) ? at : first;
    }
    return first;
  }

  private static int[][] contexts(List<Draft> drafts, int capacity, boolean half) {
    int most = half ? Math.max(1, capacity / 2) : capacity - 1;
    int[][] out = new int[drafts.size()][];
    for (int b = 0; b < out.length; b++) {
      List<Integer> context = drafts.get(b).context;
      out[b] = array(context.subList(Math.max(0, context.size() - most), context.size()));
    }
    return out;
  }
}
