package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.program.ActivationArena;
import dev.graft.program.Program;
import dev.graft.runtime.OutOfDeviceMemoryException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Recorded steps by bucket, over one activation arena; a bucket is recorded when it first comes.
 */
final class Steps implements AutoCloseable {
  private static final int SHIFT = 32;

  /** A recorded step and what it leaves to read. */
  static final class Step {
    final Program program;
    final Outputs outputs;

    Step(Program program, Outputs outputs) {
      this.program = program;
      this.outputs = outputs;
    }
  }

  private final Network network;
  private final Inputs inputs;
  private final ActivationArena arena;
  private final List<Step> steps = new ArrayList<>();

  /** Of each step: searched one by one, for a map of buckets would make a key object a step. */
  private long[] keys = new long[0];

  private final boolean loss;
  private final boolean backward;
  private final boolean dropout;
  private final boolean keepHidden;
  private final boolean keepLogits;
  private final Recompute recompute;
  private final boolean fp8;
  private long lastKey = -1;
  private Step last;

  Steps(
      Network network,
      Limits limits,
      String name,
      boolean loss,
      boolean backward,
      boolean dropout,
      boolean keepHidden,
      boolean keepLogits) {
    this(
        network,
        limits,
        name,
        loss,
        backward,
        dropout,
        keepHidden,
        keepLogits,
        Recompute.NONE,
        false);
  }

  Steps(
      Network network,
      Limits limits,
      String name,
      boolean loss,
      boolean backward,
      boolean dropout,
      boolean keepHidden,
      boolean keepLogits,
      Recompute recompute,
      boolean fp8) {
    if (limits.maxSeqlen() > network.config().maxPositions()) {
      throw new IllegalArgumentException(
          "sequences of up to "
              + limits.maxSeqlen()
              + " tokens exceed the model's "
              + network.config().maxPositions()
              + " positions");
    }
    this.network = network;
    this.inputs = new Inputs(network.device(), limits, network.targetColumns());
    this.arena = new ActivationArena(network.device(), name + " activations");
    this.loss = loss;
    this.backward = backward;
    this.dropout = dropout;
    this.keepHidden = keepHidden;
    this.keepLogits = keepLogits;
    this.recompute = recompute;
    this.fp8 = fp8;
  }

  Inputs inputs() {
    return inputs;
  }

  /** Native calls of the step that ran last; 0 before the first. */
  int lastCalls() {
    return last == null ? 0 : last.program.size();
  }

  long activationBytes() {
    return arena.bytes();
  }

  /** The step of a batch's bucket. */
  Step of(Batch batch) {
    int masked =
        network.task() == Task.MASKED_LM || network.task() == Task.PRETRAINING
            ? batch.maskedCount
            : 0;
    long key = ((long) batch.tokens << SHIFT) | masked;
    if (key != lastKey) {
      int at = 0;
      while (at < keys.length && keys[at] != key) {
        at++;
      }
      if (at == keys.length) {
        steps.add(record(batch.tokens, masked));
        keys = Arrays.copyOf(keys, at + 1);
        keys[at] = key;
      }
      last = steps.get(at);
      lastKey = key;
    }
    return last;
  }

  private Step record(int tokens, int masked) {
    Program program = new Program(tokens + " tokens", arena);
    try {
      Step step = record(program, tokens, masked, recompute);
      program.seal();
      return step;
    } catch (OutOfDeviceMemoryException e) {
      program.close();
      // A larger block would take the place of the one that is held.
      long free = arena.bytes() + network.device().memory().free();
      long room = free - network.device().reserveOf(free);
      throw e.with(
          WhatFits.sentence(
              tokens,
              inputs.limits.maxSeqlen(),
              room,
              backward,
              (fewer, level) ->
                  activationBytes(fewer, (int) ((long) masked * fewer / tokens), level)));
    } catch (RuntimeException e) {
      program.close();
      throw e;
    }
  }

  /** Bytes of activations a step over such a bucket needs. */
  long activationBytes(int tokens, int masked, Recompute level) {
    try (Program program = Program.plan(tokens + " tokens", arena)) {
      record(program, tokens, masked, level);
      return program.activationBytes();
    }
  }

  private Step record(Program program, int tokens, int masked, Recompute level) {
    StepSpec spec =
        new StepSpec(
            tokens,
            masked,
            inputs.limits.maxSequences(),
            inputs.limits.maxSeqlen(),
            loss,
            backward,
            dropout,
            keepHidden,
            keepLogits,
            level);
    Recording recording =
        new Recording(program, spec, inputs, network.dtype(), network.classLoss());
    if (fp8) {
      recording.inFloat8(network);
    }
    Outputs outputs = network.record(recording);
    if (!loss && !keepHidden) {
      program.keep(outputs.last);
    }
    return new Step(program, outputs);
  }

  /** Forgets what was recorded; buckets are recorded anew when they come. */
  void forget() {
    steps.forEach(step -> step.program.close());
    steps.clear();
    keys = new long[0];
    last = null;
    lastKey = -1;
  }

  @Override
  public void close() {
    forget();
    arena.close();
    inputs.close();
  }
}
