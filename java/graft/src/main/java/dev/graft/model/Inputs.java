package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.stream.IntStream;

/** A batch on the device: the tensors every recorded step reads, int32 but for float targets. */
final class Inputs implements AutoCloseable {
  private final Arena arena;
  final Limits limits;
  final Tensor ids;
  final Tensor positions;
  final Tensor types;
  final Tensor labels;
  final Tensor cuSeqlens;
  final Tensor maskedRows;
  final Tensor maskedLabels;
  final Tensor sequenceLabels;
  final Tensor endPositions;
  final Tensor cuChoices;
  final Tensor choiceLabels;
  final Tensor firstRows;

  /** fp32 [sequences, columns]; null where the task has no such targets. */
  final Tensor targets;

  final Tensor tokenOrder;
  final Tensor positionOrder;
  final Tensor typeOrder;

  /** Ids of a table of one row, and the order of its rows: never written again. */
  final Tensor zeros;

  final Tensor rows;

  /**
   * @param targetColumns float targets of a sequence, 0 where the task has none
   */
  Inputs(Device device, Limits limits, int targetColumns) {
    this.limits = limits;
    arena = new Arena(device, "inputs");
    long tokens = limits.maxTokens();
    long sequences = limits.maxSequences();
    ids = ints("input_ids", tokens);
    positions = ints("position_ids", tokens);
    types = ints("token_type_ids", tokens);
    labels = ints("labels", tokens);
    cuSeqlens = ints("cu_seqlens", sequences + 1);
    maskedRows = ints("masked_rows", tokens);
    maskedLabels = ints("masked_labels", tokens);
    sequenceLabels = ints("sequence_labels", sequences);
    endPositions = ints("end_positions", sequences);
    cuChoices = ints("cu_choices", sequences + 1);
    choiceLabels = ints("choice_labels", sequences);
    firstRows = ints("first_rows", sequences);
    targets =
        targetColumns == 0 ? null : arena.zeros("targets", DType.FLOAT32, sequences, targetColumns);
    tokenOrder = ints("token_order", tokens);
    positionOrder = ints("position_order", tokens);
    typeOrder = ints("type_order", tokens);
    zeros = ints("zeros", tokens);
    rows = ints("rows", tokens);
    rows.put(IntStream.range(0, limits.maxTokens()).toArray(), limits.maxTokens());
  }

  private Tensor ints(String name, long size) {
    return arena.zeros(name, DType.INT32, size);
  }

  /** Copies a batch; allocates nothing. */
  void upload(Batch batch) {
    if (batch.tokens > limits.maxTokens()
        || batch.maxSequences() > limits.maxSequences()
        || batch.maxSeqlen() > limits.maxSeqlen()) {
      throw new IllegalArgumentException(
          "a batch of "
              + batch.tokens
              + " tokens, up to "
              + batch.maxSequences()
              + " sequences of up to "
              + batch.maxSeqlen()
              + ", exceeds "
              + limits);
    }
    ids.put(batch.inputIds, batch.tokens);
    positions.put(batch.positionIds, batch.tokens);
    types.put(batch.tokenTypeIds, batch.tokens);
    labels.put(batch.labels, batch.tokens);
    cuSeqlens.put(batch.cuSeqlens, batch.maxSequences() + 1);
    maskedRows.put(batch.maskedRows, batch.maskedCount);
    maskedLabels.put(batch.maskedLabels, batch.maskedCount);
    sequenceLabels.put(batch.sequenceLabels, batch.maxSequences());
    endPositions.put(batch.endPositions, batch.maxSequences());
    cuChoices.put(batch.cuChoices, batch.maxSequences() + 1);
    choiceLabels.put(batch.choiceLabels, batch.maxSequences());
    firstRows.put(batch.firstRows, batch.maxSequences());
    if (targets != null && batch.targets.length > 0) {
      targets.put(batch.targets, batch.targets.length);
    }
    tokenOrder.put(batch.tokenOrder, batch.tokens);
    positionOrder.put(batch.positionOrder, batch.tokens);
    typeOrder.put(batch.typeOrder, batch.tokens);
  }

  @Override
  public void close() {
    arena.close();
  }
}
