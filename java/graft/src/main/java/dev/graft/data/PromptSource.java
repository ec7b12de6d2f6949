package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Batches of prompts with their completions for the next-token objective, a sequence each. The
 * prompt is read and not learnt: its tokens carry no label. A completion ends with the tokenizer's
 * end token.
 */
public final class PromptSource implements BatchSource {
  /**
   * A prompt and its completion in tokens.
   *
   * @param prompt how many of the ids are the prompt's, at least 1
   */
  record Sequence(int[] ids, int prompt) {}

  private final List<Sequence> sequences;
  private final EpochOrder order;
  private final int truncated;
  private final int longest;
  private final int maxBatchTokens;

  PromptSource(List<Sequence> sequences, int batchSize, boolean shuffle, long seed, int truncated) {
    this.sequences = sequences;
    this.order = new EpochOrder(sequences.size(), batchSize, shuffle, seed);
    this.truncated = truncated;
    int[] lengths = sequences.stream().mapToInt(s -> s.ids().length - 1).toArray();
    longest = Arrays.stream(lengths).max().getAsInt();
    maxBatchTokens = order.largestBatch(lengths);
  }

  /**
   * Encodes examples.
   *
   * @param maxLength longest sequence in tokens; a completion keeps half of it at most where both
   *     do not fit, the prompt what is left
   * @param shuffle true for training: another order every epoch, whole batches only
   * @throws InvalidInputException if there is no end token to teach, or an example has no token
   */
  public static PromptSource of(
      List<PromptExample> examples,
      PromptTemplate template,
      Tokenizer tokenizer,
      int maxLength,
      int batchSize,
      boolean shuffle,
      long seed) {
    if (examples.isEmpty() || batchSize < 1 || maxLength < 2) {
      throw new IllegalArgumentException("expected examples, a batch and a length of 2 at least");
    }
    if (tokenizer.eosId() < 0) {
      throw new InvalidInputException(
          "this tokenizer has no end token, by which a completion is told to be over");
    }
    List<Sequence> sequences = new ArrayList<>(examples.size());
    int truncated = 0;
    for (PromptExample example : examples) {
      int[] whole = template.encodeCompletion(tokenizer, example.completion());
      // One token more than the model reads: the last is predicted and not read.
      PromptTemplate.Encoded free = template.encode(tokenizer, example, Integer.MAX_VALUE);
      int room = maxLength + 1;
      int completion = whole.length + 1;
      if (free.ids().length + completion > room) {
        completion = Math.min(completion, Math.max(room / 2, room - free.ids().length));
      }
      PromptTemplate.Encoded prompt = template.encode(tokenizer, example, room - completion);
      if (prompt.ids().length == 0 || whole.length == 0) {
        throw new InvalidInputException(
            "line " + example.line() + ": a prompt and a completion need a token each");
      }
      boolean cut = completion <= whole.length;
      truncated += cut || prompt.cut() ? 1 : 0;
      int[] ids = Arrays.copyOf(prompt.ids(), prompt.ids().length + completion);
      System.arraycopy(whole, 0, ids, prompt.ids().length, Math.min(completion, whole.length));
      if (!cut) {
        ids[ids.length - 1] = tokenizer.eosId();
      }
      sequences.add(new Sequence(ids, prompt.ids().length));
    }
    return new PromptSource(sequences, batchSize, shuffle, seed, truncated);
  }

  /** Examples that were cut. */
  public int truncated() {
    return truncated;
  }

  @Override
  public long batchesPerEpoch() {
    return order.batchesPerEpoch();
  }

  @Override
  public Batch newBatch() {
    return new Batch(maxBatchTokens, order.batchSize(), longest);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    for (int place = 0; place < order.batchSize(); place++) {
      int example = order.example(index, place);
      if (example < 0) {
        break;
      }
      add(batch, sequences.get(example));
    }
    batch.finish();
  }

  private static void add(Batch batch, Sequence sequence) {
    int[] ids = sequence.ids();
    batch.beginSequence(Batch.IGNORED);
    for (int i = 0; i + 1 < ids.length; i++) {
      batch.addToken(ids[i], i, 0, i + 1 < sequence.prompt() ? Batch.IGNORED : ids[i + 1]);
    }
  }

  @Override
  public String fingerprint() {
    int hash = 1;
    for (Sequence sequence : sequences) {
      hash = 31 * (31 * hash + Arrays.hashCode(sequence.ids())) + sequence.prompt();
    }
    return order.fingerprint("prompts", hash);
  }
}
