package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.program.ActivationArena;
import dev.graft.program.Program;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2 writing several texts a prompt, each of which goes on from any of its prompt's. Prompts are
 * read once. There are two sets of KV caches: a step gathers what its texts go on from out of one
 * into the other.
 */
public final class BeamDecoder implements AutoCloseable {
  private final Device device;
  private final Gpt2 network;
  private final int prompts;
  private final int rows;
  private final int capacity;
  private final Arena arena;
  private final ActivationArena activations;
  private final Inputs inputs;
  private final Tensor lengths;
  private final Tensor lastRows;
  private final Tensor from;
  private final List<Gpt2.Cache> read;
  private final List<List<Gpt2.Cache>> turns;

  /** Out of the prompts' caches, then to and fro. */
  private final Pass[] steps = new Pass[3];

  private final int[] lengthsHost;
  private int[] promptLengths;
  private int step;

  /** A recorded pass and what it leaves: [rows, V padded]. */
  private record Pass(Program program, Tensor logits) {}

  /**
   * @param network a GPT-2 with its language-model head
   * @param prompts how many
   * @param beams texts a prompt
   * @param capacity tokens of the longest prompt and what is written behind it, at most the model's
   *     positions
   */
  public BeamDecoder(Network network, int prompts, int beams, int capacity) {
    if (!(network instanceof Gpt2 gpt2)) {
      throw new IllegalArgumentException(
          "only GPT-2 writes text, this is a " + network.config().modelType());
    }
    if (prompts < 1 || beams < 1 || capacity < 2 || capacity > gpt2.config().maxPositions()) {
      throw new IllegalArgumentException(
          String.format(
              "expected prompts, beams and a capacity of 2 to %d, got %d, %d and %d",
              gpt2.config().maxPositions(), prompts, beams, capacity));
    }
    this.network = gpt2;
    this.device = network.device();
    this.prompts = prompts;
    this.rows = Math.multiplyExact(prompts, beams);
    this.capacity = capacity;
    arena = new Arena(device, "beam decoder");
    activations = new ActivationArena(device, "beam decoder activations");
    int most = Math.max(Math.multiplyExact(prompts, capacity), rows);
    Batch sizes = new Batch(Batch.roundUp(most, Batch.TOKEN_BUCKET), rows, capacity);
    inputs = new Inputs(device, Limits.of(sizes), 0);
    lengths = arena.zeros("lengths", DType.INT32, rows);
    lastRows = arena.zeros("last rows", DType.INT32, prompts);
    from = arena.zeros("from", DType.INT32, rows);
    lengthsHost = new int[rows];
    read = caches(prompts);
    turns = List.of(caches(rows), caches(rows));
    steps[0] = record(read, turns.get(0));
    steps[1] = record(turns.get(0), turns.get(1));
    steps[2] = record(turns.get(1), turns.get(0));
  }

  private List<Gpt2.Cache> caches(int count) {
    List<Gpt2.Cache> caches = new ArrayList<>();
    long heads = network.config().heads();
    long headDim = network.config().headDim();
    for (int l = 0; l < network.config().layers(); l++) {
      caches.add(
          new Gpt2.Cache(
              arena.zeros("keys", network.dtype(), count, heads, capacity, headDim),
              arena.zeros("values", network.dtype(), count, heads, capacity, headDim)));
    }
    return caches;
  }

  private Recording recording(Program program, int tokens, int sequences) {
    StepSpec spec =
        new StepSpec(
            tokens, 0, sequences, capacity, false, false, false, false, false, Recompute.NONE);
    return new Recording(program, spec, inputs, network.dtype());
  }

  private Pass record(List<Gpt2.Cache> source, List<Gpt2.Cache> target) {
    Program program = new Program("one token a beam", activations);
    Recording r = recording(program, rows, rows);
    for (int l = 0; l < target.size(); l++) {
      gather(r, source.get(l).keys(), target.get(l).keys());
      gather(r, source.get(l).values(), target.get(l).values());
    }
    Tensor logits = network.recordGeneration(r, target, lengths, null, true);
    return new Pass(program.seal(), logits);
  }

  private void gather(Recording r, Tensor source, Tensor target) {
    long width = source.count() / source.size(0);
    r.ops.gatherRows(
        source.view(0, source.size(0), width), from, target.view(0, target.size(0), width));
  }

  /**
   * Reads the prompts, forgetting what was there.
   *
   * @return the logits of what follows each: [prompts][V]
   */
  public float[][] prefill(int[][] texts) {
    if (texts.length != prompts) {
      throw new IllegalArgumentException("expected " + prompts + " prompts, got " + texts.length);
    }
    int total = 0;
    for (int[] text : texts) {
      if (text.length < 1 || text.length >= capacity) {
        throw new IllegalArgumentException(
            "a prompt must have 1 to " + (capacity - 1) + " tokens here, got " + text.length);
      }
      total += text.length;
    }
    Batch batch = new Batch(total, prompts, capacity).begin();
    int[] last = new int[prompts];
    promptLengths = new int[prompts];
    for (int p = 0; p < prompts; p++) {
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < texts[p].length; i++) {
        batch.addToken(texts[p][i], i, 0, Batch.IGNORED);
      }
      last[p] = batch.liveTokens - 1;
      promptLengths[p] = texts[p].length;
    }
    batch.finish();
    inputs.upload(batch);
    lengths.put(new int[rows], rows);
    lastRows.put(last, prompts);
    step = 0;
    try (Program program = new Program("prompts of " + batch.tokens, activations)) {
      Recording r = recording(program, batch.tokens, batch.maxSequences());
      Tensor logits = network.recordGeneration(r, read, lengths.view(0, prompts), lastRows, false);
      program.seal();
      device.stepBegin(0, 0, 0, prompts, 1, 1);
      program.run();
      device.synchronize();
      return host(logits, prompts);
    }
  }

  /**
   * Appends one token to each text.
   *
   * @param parents [prompts·beams] which text each goes on from; after {@link #prefill} which
   *     prompt
   * @param tokens [prompts·beams] what is appended
   * @return the logits of what follows: [prompts·beams][V]
   */
  public float[][] step(int[] parents, int[] tokens) {
    for (int row = 0; row < rows; row++) {
      lengthsHost[row] = promptLengths[row / (rows / prompts)] + step;
    }
    inputs.ids.put(tokens, rows);
    inputs.positions.put(lengthsHost, rows);
    lengths.put(lengthsHost, rows);
    from.put(parents, rows);
    Pass pass = steps[step == 0 ? 0 : 2 - step % 2];
    device.stepBegin(0, 0, 0, rows, 1, 1);
    pass.program().run();
    device.synchronize();
    step++;
    return host(pass.logits(), rows);
  }

  private float[][] host(Tensor logits, int count) {
    float[][] out = new float[count][];
    for (int row = 0; row < count; row++) {
      out[row] = logits.floats(row * logits.size(1), network.config().vocabSize());
    }
    return out;
  }

  @Override
  public void close() {
    for (Pass pass : steps) {
      pass.program().close();
    }
    activations.close();
    inputs.close();
    arena.close();
  }
}
