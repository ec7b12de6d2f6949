package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import dev.graft.io.TensorInfo;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * One pass over tensors named as the reference implementation names them, for checks from outside.
 *
 * <p>Inputs: {@code input_ids [B, T]}; {@code attention_mask [B, T]} with padding on either side;
 * {@code token_type_ids}, {@code position_ids [B, T]}; {@code labels [B, T]} (−100 ignored,
 * unshifted for the causal model) or {@code shift_labels} (already shifted), or {@code labels [B]}
 * for classes, {@code [B]} or {@code [B, K]} of floats for several labels and regression; {@code
 * next_sentence_label [B]}; {@code start_positions}, {@code end_positions [B]}. For multiple choice
 * tokens are {@code [B, choices, T]} and {@code labels [B]}. Masked tokens are not computed at all:
 * real tokens are packed, their positions are column numbers unless given (RoBERTa: as it counts
 * them). Labels are shifted in the padded layout; a target counts only where it and its predictor
 * are unmasked. Outputs have the inputs' shape; rows of masked tokens are 0. A pooler reads the
 * first unmasked token of a sequence.
 *
 * <p>Dropout is off.
 */
public final class Trace implements AutoCloseable {
  /**
   * One optimizer step of {@link #train}.
   *
   * @param step 1, 2 …
   * @param loss before the step
   * @param gradNorm before clipping
   */
  public record StepResult(int step, double loss, double gradNorm) {}

  private final Device device;
  private final Path source;
  private final Network network;
  private final Batch batch;
  private final int choices; // sequences a question, 1 for the other tasks
  private final int sequences;
  private final int columns;
  private final int[] cells; // row -> b * T + t
  private boolean hasLabels;
  private boolean hasSequenceLabels;

  /** Loads the model and packs the inputs. */
  public Trace(Device device, Path model, Path inputs, DType dtype) {
    this.device = device;
    ModelDirectory directory = ModelDirectory.resolve(model);
    source = directory.path();
    Task task = Network.taskOf(directory);
    try (Safetensors in = Safetensors.open(inputs)) {
      TensorInfo ids = in.info("input_ids");
      long[] shape = ids.shape();
      boolean questions = task == Task.MULTIPLE_CHOICE;
      if (shape.length != (questions ? 3 : 2)) {
        throw InvalidInputException.of(
            inputs,
            "input_ids: expected " + (questions ? "[B, choices, T]" : "[B, T]") + ", got " + ids);
      }
      choices = questions ? Math.toIntExact(shape[1]) : 1;
      sequences = Math.toIntExact(shape[0] * choices);
      columns = Math.toIntExact(shape[shape.length - 1]);
      network = Network.load(device, directory.path(), task, dtype);
      int[] mask = grid(in, inputs, "attention_mask");
      int tokens = mask == null ? sequences * columns : Arrays.stream(mask).map(Trace::bit).sum();
      if (tokens == 0) {
        network.close();
        throw InvalidInputException.of(inputs, "there is no unmasked token");
      }
      cells = new int[tokens];
      batch = new Batch(tokens, sequences, columns, network.targetColumns());
      try {
        pack(in, inputs, mask);
      } catch (RuntimeException e) {
        network.close();
        throw e;
      }
    }
  }

  private static int bit(int value) {
    return value == 0 ? 0 : 1;
  }

  private int[] grid(Safetensors in, Path file, String name) {
    if (!in.contains(name)) {
      return null;
    }
    long[] shape = in.info(name).shape();
    boolean row = shape.length == 1 && shape[0] == columns && name.equals("position_ids");
    boolean oneRow = shape.length == 2 && shape[0] == 1 && shape[1] == columns;
    long[] wanted =
        choices > 1
            ? new long[] {sequences / choices, choices, columns}
            : new long[] {sequences, columns};
    if (!row && !oneRow && !Arrays.equals(shape, wanted)) {
      throw InvalidInputException.of(
          file, name + ": expected " + Arrays.toString(wanted) + ", got " + in.info(name));
    }
    int[] values = in.ints(name);
    if (values.length == sequences * columns) {
      return values;
    }
    int[] repeated = new int[sequences * columns];
    for (int b = 0; b < sequences; b++) {
      System.arraycopy(values, 0, repeated, b * columns, columns);
    }
    return repeated;
  }

  private int[] column(Safetensors in, Path file, String name) {
    if (!in.contains(name)) {
      return null;
    }
    int[] values = in.ints(name);
    if (values.length != sequences / choices) {
      throw InvalidInputException.of(
          file, name + ": expected [" + sequences / choices + "], got " + in.info(name));
    }
    return values;
  }

  /** Float targets, row after row. */
  private float[] targets(Safetensors in, Path file) {
    int wanted = sequences * network.targetColumns();
    if (wanted == 0 || !in.contains("labels")) {
      return null;
    }
    float[] values = in.floats("labels");
    if (values.length != wanted) {
      throw InvalidInputException.of(
          file, "labels: expected " + wanted + " numbers, got " + in.info("labels"));
    }
    return values;
  }

  /** Positions outside of the sequence are not counted. */
  private int inside(int[] positions, int b, int length) {
    boolean in = positions != null && positions[b] >= 0 && positions[b] < length;
    return in ? positions[b] : Batch.IGNORED;
  }

  private void pack(Safetensors in, Path file, int[] mask) {
    ModelConfig config = network.config();
    Task task = network.task();
    boolean classes = task == Task.SEQUENCE_CLASSIFICATION;
    boolean answers = task == Task.QUESTION_ANSWERING;
    boolean questions = task == Task.MULTIPLE_CHOICE;
    float[] targets = targets(in, file);
    int columnsOfTargets = network.targetColumns();
    int[] ids = grid(in, file, "input_ids");
    int[] types = grid(in, file, "token_type_ids");
    int[] shifted = grid(in, file, "shift_labels");
    int[] labels = classes || answers || questions ? null : grid(in, file, "labels");
    String labelName =
        classes || questions ? "labels" : answers ? "start_positions" : "next_sentence_label";
    int[] sequenceLabels = columnsOfTargets > 0 ? null : column(in, file, labelName);
    int[] ends = answers ? column(in, file, "end_positions") : null;
    boolean causal = task == Task.CAUSAL_LM;
    hasLabels = (causal && shifted != null) || labels != null;
    hasSequenceLabels =
        targets != null
            || sequenceLabels != null
                && (classes || answers || questions || task == Task.PRETRAINING);
    int typeRows = config instanceof BertConfig bert ? bert.typeVocabSize() : 0;
    int[] position = positions(config, in, file, ids);
    int classCount = classes ? config.labels().size() : questions ? choices : 2;
    int labelCount =
        task == Task.TOKEN_CLASSIFICATION ? config.labels().size() : config.vocabSize();

    batch.begin();
    int row = 0;
    for (int b = 0; b < sequences; b++) {
      int length = length(mask, b);
      int sequenceLabel = Batch.IGNORED;
      if (answers) {
        sequenceLabel = inside(sequenceLabels, b, length);
      } else if (hasSequenceLabels && targets == null) {
        sequenceLabel = sequenceLabels[b / choices];
        within(file, labelName, sequenceLabel, classCount, true);
      }
      if (questions && b % choices == 0) {
        batch.beginQuestion(sequenceLabel);
      }
      batch.beginSequence(questions ? Batch.IGNORED : sequenceLabel);
      if (answers) {
        batch.endPosition(inside(ends, b, length));
      }
      if (targets != null) {
        batch.targets(
            Arrays.copyOfRange(targets, b * columnsOfTargets, (b + 1) * columnsOfTargets));
      }
      for (int t = 0; t < columns; t++) {
        int cell = b * columns + t;
        if (mask != null && mask[cell] == 0) {
          continue;
        }
        int type = types == null || typeRows == 0 ? 0 : types[cell];
        within(file, "input_ids", ids[cell], config.vocabSize(), false);
        within(file, "position of a token", position[cell], config.maxPositions(), false);
        within(file, "token_type_ids", type, Math.max(1, typeRows), false);
        int label = label(causal, labels, shifted, mask, cell, t);
        within(file, "labels", label, labelCount, true);
        batch.addToken(ids[cell], position[cell], type, label);
        cells[row++] = cell;
      }
    }
    batch.finish();
  }

  private int length(int[] mask, int b) {
    if (mask == null) {
      return columns;
    }
    return Arrays.stream(mask, b * columns, (b + 1) * columns).map(Trace::bit).sum();
  }

  /**
   * Positions counted from 0: the columns or, as RoBERTa counts, the tokens before that are not
   * padding. Given ones count from the row of the model's table.
   */
  private int[] positions(ModelConfig config, Safetensors in, Path file, int[] ids) {
    int offset = config instanceof BertConfig bert ? bert.positionOffset() : 0;
    int[] given = grid(in, file, "position_ids");
    int[] positions = new int[sequences * columns];
    for (int b = 0; b < sequences; b++) {
      int texts = 0;
      for (int t = 0; t < columns; t++) {
        int cell = b * columns + t;
        boolean pads = offset > 0 && ids[cell] == offset - 1;
        int own = offset == 0 ? t : pads ? -1 : texts;
        texts += pads ? 0 : 1;
        positions[cell] = given == null ? own : given[cell] - offset;
      }
    }
    return positions;
  }

  private int label(boolean causal, int[] labels, int[] shifted, int[] mask, int cell, int t) {
    if (!causal) {
      return labels == null ? Batch.IGNORED : labels[cell];
    }
    boolean hasNext = t + 1 < columns;
    if (hasNext && mask != null && mask[cell + 1] == 0) {
      return Batch.IGNORED;
    }
    if (shifted != null) {
      return shifted[cell];
    }
    return labels == null || !hasNext ? Batch.IGNORED : labels[cell + 1];
  }

  private static void within(Path file, String name, int value, int end, boolean ignorable) {
    if ((value < 0 || value >= end) && !(ignorable && value == Batch.IGNORED)) {
      throw InvalidInputException.of(
          file, name + ": expected values in 0.." + (end - 1) + ", got " + value);
    }
  }

  /** Writes the model as it is now, with the tokenizer if it came with one. */
  public void save(Path directory) {
    network.save(directory);
    if (Tokenizer.isIn(source)) {
      try (Tokenizer tokenizer = Tokenizer.fromPretrained(source)) {
        tokenizer.savePretrained(directory);
      }
    }
  }

  private float scale(int slot) {
    long count = network.lossLabels(batch, slot);
    return count == 0 ? 0 : (float) (network.lossShare() / count);
  }

  /** The mean loss of each head, added; as counted since the last reset. */
  private double loss() {
    device.stepRead();
    double loss = 0;
    for (int slot = 0; slot < 2; slot++) {
      if (network.lossLabels(batch, slot) > 0) {
        loss += network.lossShare() * device.lossSum(slot) / device.lossWeight(slot);
      }
    }
    return loss;
  }

  private boolean hasLoss() {
    return hasLabels || hasSequenceLabels;
  }

  /** Runs one pass and writes every output. */
  public void run(Path file, boolean gradients) {
    if (gradients && !hasLoss()) {
      throw new InvalidInputException("gradients need labels among the inputs");
    }
    if (gradients) {
      if (network.lora() != null) {
        network.setRates(p -> network.isAdapted(p) ? 1 : 0);
      }
      network.enableTraining();
    }
    SafetensorsWriter writer = new SafetensorsWriter();
    try (Steps steps =
        new Steps(network, Limits.of(batch), "trace", hasLoss(), gradients, false, true, true)) {
      Steps.Step step = steps.of(batch);
      steps.inputs().upload(batch);
      device.lossReset();
      device.stepBegin(0, 0, 0, batch.sequences, scale(0), scale(1));
      step.program.run();
      if (hasLoss()) {
        writer.floats("loss", new float[] {(float) loss()});
      }
      write(writer, step.outputs);
      if (gradients) {
        for (Parameters.Parameter p : network.parameters().all()) {
          if (!p.trainable()) {
            continue;
          }
          for (Parameters.Part part : p.parts()) {
            writer.floats(
                "grad." + network.parameters().fileKey(part.name()),
                p.grad().floats(part.offset(), Math.toIntExact(part.count())),
                part.shape());
          }
        }
      }
      writer.write(file);
    }
  }

  private void write(SafetensorsWriter writer, Outputs outputs) {
    long channels = network.config().channels();
    for (int i = 0; i < outputs.hidden.size(); i++) {
      spread(writer, "hidden_states." + i, outputs.hidden.get(i), channels);
    }
    spread(writer, "last_hidden_state", outputs.last, channels);
    if (outputs.pooled != null) {
      writer.floats(
          "pooler_output",
          outputs.pooled.floats(0, Math.toIntExact(sequences * channels)),
          sequences,
          channels);
    }
    boolean pretraining = network.task() == Task.PRETRAINING;
    if (outputs.logits != null) {
      spread(
          writer,
          pretraining ? "prediction_logits" : "logits",
          outputs.logits,
          network.config().vocabSize());
    }
    if (outputs.sequenceLogits != null) {
      long classes = outputs.sequenceLogits.size(1) * choices;
      long rows = sequences / choices;
      writer.floats(
          pretraining ? "seq_relationship_logits" : "logits",
          outputs.sequenceLogits.floats(0, Math.toIntExact(rows * classes)),
          rows,
          classes);
    }
    if (outputs.tokenLogits != null) {
      writeTokens(writer, outputs.tokenLogits);
    }
  }

  private void writeTokens(SafetensorsWriter writer, Tensor logits) {
    if (network.task() == Task.TOKEN_CLASSIFICATION) {
      spread(writer, "logits", logits, logits.size(1));
      return;
    }
    String[] names = {"start_logits", "end_logits"};
    float[] all = logits.floats(0, 2 * cells.length);
    for (int i = 0; i < names.length; i++) {
      float[] values = new float[sequences * columns];
      for (int row = 0; row < cells.length; row++) {
        values[cells[row]] = all[2 * row + i];
      }
      writer.floats(names[i], values, sequences, columns);
    }
  }

  /**
   * Packed rows back to [B, T, width], masked cells 0; read while the file is written, for logits
   * may be larger than the heap.
   */
  private void spread(SafetensorsWriter writer, String name, Tensor packed, long width) {
    int[] rows = new int[sequences * columns];
    Arrays.fill(rows, -1);
    for (int row = 0; row < cells.length; row++) {
      rows[cells[row]] = row;
    }
    writer.floats(
        name,
        (first, to) -> {
          for (int done = 0; done < to.length; ) {
            long row = rows[(int) ((first + done) / width)];
            long column = (first + done) % width;
            int part = (int) Math.min(to.length - done, width - column);
            if (row >= 0) {
              float[] values = packed.floats(row * packed.size(-1) + column, part);
              System.arraycopy(values, 0, to, done, part);
            }
            done += part;
          }
        },
        sequences,
        columns,
        width);
  }

  /**
   * Trains on the batch, step after step.
   *
   * @param each sees every step
   * @return the loss after the last step
   */
  public double train(int count, float lr, OptimizerOptions options, Consumer<StepResult> each) {
    if (!hasLoss()) {
      throw new InvalidInputException("training steps need labels among the inputs");
    }
    network.parameters().clearGradients(); // a pass before may have left its own
    try (TrainStep step = new TrainStep(network, Limits.of(batch), options, false);
        EvalStep eval = new EvalStep(network, Limits.of(batch))) {
      for (int i = 1; i <= count; i++) {
        device.lossReset();
        step.forwardBackward(batch, 0, i, scale(0), scale(1));
        double loss = loss();
        step.update(lr);
        device.stepRead();
        each.accept(new StepResult(i, loss, device.gradNorm()));
      }
      device.lossReset();
      eval.loss(batch);
      return loss();
    }
  }

  /** One line of JSON for a step. */
  public static String json(StepResult result) {
    return Json.line(
        Json.object()
            .put("step", result.step())
            .put("loss", result.loss())
            .put("grad_norm", result.gradNorm()));
  }

  /** One line of JSON for the loss at the end. */
  public static String json(double loss) {
    return Json.line(Json.object().put("loss", loss));
  }

  @Override
  public void close() {
    network.close();
  }
}
