package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.OptimizerOptions.Decay;
import dev.graft.model.Trace;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft trace}. */
@Command(
    name = "trace",
    description = {
      "Runs a model once on given tensors and writes what it computed under the reference"
          + " implementation's names; with --steps it also trains on them. Dropout is off.",
      "",
      "Inputs (safetensors): input_ids [B,T] and, if wanted, attention_mask (padding on either"
          + " side), token_type_ids, position_ids (else column numbers), labels (-100 is ignored;"
          + " unshifted for GPT-2; [B] for classes) or shift_labels, next_sentence_label [B].",
      "Outputs: loss; logits, or prediction_logits and seq_relationship_logits; hidden_states.N,"
          + " last_hidden_state, pooler_output; grad.NAME for each tensor of the checkpoint. All"
          + " have the inputs' shape; rows of masked tokens are 0."
    },
    footer = {
      "Examples:",
      "  graft trace --model DIR --inputs in.safetensors --outputs out.safetensors",
      "  graft trace --model DIR --inputs in.safetensors --steps 10 --save NEWDIR"
    })
final class TraceCommand extends GraftCommand {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      description = "Model directory, or a name on a hub.")
  Path model;

  @Option(
      names = "--inputs",
      paramLabel = "FILE",
      required = true,
      description = "safetensors file of the inputs.")
  Path inputs;

  @Option(names = "--outputs", paramLabel = "FILE", description = "safetensors file to write.")
  Path outputs;

  @Option(names = "--gradients", description = "Also write the gradients of the loss.")
  boolean gradients;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "fp32 or bf16 (default: ${DEFAULT-VALUE}).",
      defaultValue = "fp32")
  String dtype;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description =
          "Train N AdamW steps on the batch: a JSON line each with step, loss before it and"
              + " grad_norm before clipping; then one with the loss after the last.",
      defaultValue = "0")
  int steps;

  @Option(
      names = "--lr",
      paramLabel = "RATE",
      description = "Learning rate (default: ${DEFAULT-VALUE}).",
      defaultValue = "0.001")
  float lr;

  @Option(
      names = "--betas",
      paramLabel = "A,B",
      hideParamSyntax = true,
      split = ",",
      description = "Adam's betas (default: 0.9,0.999).",
      defaultValue = "0.9,0.999")
  float[] betas;

  @Option(
      names = "--eps",
      paramLabel = "E",
      description = "Adam's epsilon (default: ${DEFAULT-VALUE}).",
      defaultValue = "1e-8")
  float eps;

  @Option(
      names = "--weight-decay",
      paramLabel = "L",
      description = "Decoupled weight decay (default: ${DEFAULT-VALUE}).",
      defaultValue = "0.01")
  float weightDecay;

  @Option(
      names = "--decay",
      paramLabel = "WHICH",
      description =
          "What decays: all, or matrices, which is all but biases and LayerNorm (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "matrices")
  Decay decay;

  @Option(
      names = "--clip",
      paramLabel = "C",
      description = "Largest gradient norm; 0 for no clipping (default: ${DEFAULT-VALUE}).",
      defaultValue = "0")
  float clip;

  @Option(
      names = "--save",
      paramLabel = "DIR",
      description = "Directory for the model as it is after the steps.")
  Path save;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      description = "cpu, cuda, cuda:N or auto (default: ${DEFAULT-VALUE}).",
      defaultValue = "cpu")
  String device;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Processor threads (default: all).",
      defaultValue = "0")
  int threads;

  @Option(names = "--json", description = "Accepted for uniformity: it prints JSON lines anyway.")
  boolean json;

  @Override
  public Integer call() {
    if (outputs == null && steps == 0 && save == null) {
      throw new InvalidInputException("nothing to do: give --outputs, --steps or both");
    }
    if (gradients && outputs == null) {
      throw new InvalidInputException("--gradients are written to --outputs, which is missing");
    }
    if (betas.length != 2) {
      throw new InvalidInputException("--betas: expected two numbers, A,B");
    }
    if (steps < 0) {
      throw new InvalidInputException("--steps: expected at least 0, got " + steps);
    }
    OptimizerOptions options =
        new OptimizerOptions(betas[0], betas[1], eps, weightDecay, decay, clip);
    DType type = DType.parse(dtype);
    try (Device on = Device.open(Devices.resolve(device, err()), threads);
        Trace trace = new Trace(on, model, inputs, type)) {
      if (outputs != null) {
        trace.run(outputs, gradients);
      }
      if (steps > 0) {
        double last = trace.train(steps, lr, options, step -> out().println(Trace.json(step)));
        out().println(Trace.json(last));
      }
      if (save != null) {
        trace.save(save);
      }
    }
    return ExitCode.DONE;
  }
}
