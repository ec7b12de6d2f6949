package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.program.ActivationArena;
import dev.graft.program.Ops;
import dev.graft.program.Ops.Sampling;
import dev.graft.program.Program;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2 writing: prompts of different lengths are read in one packed pass that fills the KV caches,
 * then every step reads one token a sequence against its cache. Sampling runs on the device.
 */
public final class Decoder implements AutoCloseable {
  private static final int SAMPLING_OP = 0x5A;

  private final Device device;
  private final Gpt2 network;
  private final int batchSize;
  private final int capacity;
  private final Sampling sampling;
  private final long seed;
  private final Arena arena;
  private final ActivationArena activations;
  private final Inputs inputs;
  private final List<Gpt2.Cache> caches = new ArrayList<>();
  private final Tensor lengths;
  private final Tensor lastRows;
  private final Tensor next;
  private final Tensor history;
  private final Tensor historyCounts;
  private final int[] lengthsHost;
  private final int[] nextHost;
  private final int[] historyHost;
  private final int[] historyCountsHost;
  private final Program step;
  private long draws;

  /**
   * @param network a GPT-2 with its language-model head
   * @param batchSize sequences written side by side
   * @param sampling its op id is not used
   * @param seed of the draws
   */
  public Decoder(Network network, int batchSize, Sampling sampling, long seed) {
    if (!(network instanceof Gpt2 gpt2)) {
      throw new IllegalArgumentException(
          "only GPT-2 writes text, this is a " + network.config().modelType());
    }
    if (batchSize < 1) {
      throw new IllegalArgumentException("expected at least one sequence, got " + batchSize);
    }
    this.network = gpt2;
    this.device = network.device();
    this.batchSize = batchSize;
    this.capacity = network.config().maxPositions();
    this.sampling =
        new Sampling(
            sampling.temperature(),
            sampling.topK(),
            sampling.topP(),
            sampling.repetitionPenalty(),
            SAMPLING_OP);
    this.seed = seed;
    arena = new Arena(device, "decoder");
    activations = new ActivationArena(device, "decoder activations");
    int tokens = Batch.roundUp(batchSize * capacity, Batch.TOKEN_BUCKET);
    Batch sizes = new Batch(tokens, batchSize, capacity);
    inputs = new Inputs(device, Limits.of(sizes), 0);
    long heads = network.config().heads();
    long headDim = network.config().headDim();
    for (int l = 0; l < network.config().layers(); l++) {
      caches.add(
          new Gpt2.Cache(
              arena.zeros("keys", network.dtype(), batchSize, heads, capacity, headDim),
              arena.zeros("values", network.dtype(), batchSize, heads, capacity, headDim)));
    }
    lengths = arena.zeros("lengths", DType.INT32, batchSize);
    lastRows = arena.zeros("last rows", DType.INT32, batchSize);
    next = arena.zeros("next", DType.INT32, batchSize);
    history = arena.zeros("history", DType.INT32, batchSize, capacity);
    historyCounts = arena.zeros("history counts", DType.INT32, batchSize);
    lengthsHost = new int[batchSize];
    nextHost = new int[batchSize];
    historyHost = new int[batchSize * capacity];
    historyCountsHost = new int[batchSize];
    step = record("one token", batchSize, batchSize, true);
  }

  private Program record(String name, int rows, int sequences, boolean oneToken) {
    Program program = new Program(name, activations);
    StepSpec spec =
        new StepSpec(
            rows, 0, sequences, capacity, false, false, false, false, false, Recompute.NONE);
    Recording r = new Recording(program, spec, inputs, network.dtype());
    Tensor logits =
        network.recordGeneration(r, caches, lengths, oneToken ? null : lastRows, oneToken);
    boolean penalty = sampling.repetitionPenalty() != 1;
    new Ops(program)
        .sample(
            logits,
            network.config().vocabSize(),
            penalty ? history : null,
            penalty ? historyCounts : null,
            next,
            sampling);
    return program.seal();
  }

  /** Most tokens a sequence can hold, prompt included. */
  public int capacity() {
    return capacity;
  }

  /** Tokens sequence {@code b} holds, the one chosen last not counted. */
  public int length(int b) {
    return lengthsHost[b];
  }

  /**
   * Reads the prompts, forgetting what was there, and chooses the first token of each.
   *
   * @param prompts one a sequence, each of 1 to {@link #capacity} − 1 tokens
   * @return the chosen tokens, valid until the next call
   */
  public int[] prefill(int[][] prompts) {
    if (prompts.length != batchSize) {
      throw new IllegalArgumentException(
          "expected " + batchSize + " prompts, got " + prompts.length);
    }
    int total = 0;
    for (int[] prompt : prompts) {
      if (prompt.length < 1 || prompt.length >= capacity) {
        throw new IllegalArgumentException(
            "a prompt must have 1 to "
                + (capacity - 1)
                + " tokens for this model, got "
                + prompt.length);
      }
      total += prompt.length;
    }
    Batch batch = new Batch(total, batchSize, capacity).begin();
    int[] rows = new int[batchSize];
    for (int b = 0; b < batchSize; b++) {
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < prompts[b].length; i++) {
        if (prompts[b][i] < 0 || prompts[b][i] >= network.config().vocabSize()) {
          throw new IllegalArgumentException(
              "token " + prompts[b][i] + " is not in the model's vocabulary");
        }
        batch.addToken(prompts[b][i], i, 0, Batch.IGNORED);
      }
      rows[b] = batch.liveTokens - 1;
      lengthsHost[b] = 0;
      historyCountsHost[b] = prompts[b].length;
      System.arraycopy(prompts[b], 0, historyHost, b * capacity, prompts[b].length);
    }
    batch.finish();
    inputs.upload(batch);
    lengths.put(lengthsHost, batchSize);
    lastRows.put(rows, batchSize);
    uploadHistory();
    try (Program prefill =
        record("prompts of " + batch.tokens, batch.tokens, batch.maxSequences(), false)) {
      // The caches have no room for the tail's sequences; its rows are not read.
      device.stepBegin(seed, draws++, 0, batchSize, 1, 1);
      prefill.run();
      device.synchronize();
    }
    for (int b = 0; b < batchSize; b++) {
      lengthsHost[b] = prompts[b].length;
    }
    return chosen();
  }

  /**
   * Appends one token a sequence and chooses the next.
   *
   * @param tokens usually what the last call returned
   * @return the chosen tokens, valid until the next call
   * @throws IllegalStateException if a sequence is full, or its logits are not numbers
   */
  public int[] step(int[] tokens) {
    for (int b = 0; b < batchSize; b++) {
      if (lengthsHost[b] >= capacity) {
        throw new IllegalStateException("sequence " + b + " is full: " + capacity + " tokens");
      }
      if (historyCountsHost[b] < capacity) {
        historyHost[b * capacity + historyCountsHost[b]++] = tokens[b];
      }
    }
    inputs.ids.put(tokens, batchSize);
    inputs.positions.put(lengthsHost, batchSize);
    lengths.put(lengthsHost, batchSize);
    uploadHistory();
    device.stepBegin(seed, draws++, 0, batchSize, 1, 1);
    step.run();
    device.synchronize();
    for (int b = 0; b < batchSize; b++) {
      lengthsHost[b]++;
    }
    return chosen();
  }

  /** A CPU refuses such logits itself; a card can only say so in the token's place. */
  private int[] chosen() {
    next.get(nextHost, batchSize);
    for (int b = 0; b < batchSize; b++) {
      if (nextHost[b] < 0) {
        throw new IllegalStateException(
            "no token can be drawn for sequence "
                + b
                + ": its logits hold NaN or +inf, or are all -inf");
      }
    }
    return nextHost;
  }

  private void uploadHistory() {
    if (sampling.repetitionPenalty() != 1) {
      history.put(historyHost, historyHost.length);
      historyCounts.put(historyCountsHost, batchSize);
    }
  }

  @Override
  public void close() {
    step.close();
    activations.close();
    inputs.close();
    arena.close();
  }
}
