package dev.graft.cli;

import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Where and in which dtype a command computes. */
final class ComputeOptions {
  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      description =
          "cpu, cuda, cuda:N (the N-th card, from 0) or auto: a card where it can be used (default:"
              + " ${DEFAULT-VALUE}).",
      defaultValue = "auto",
      order = 900)
  String device;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Processor threads (default: all).",
      defaultValue = "0",
      order = 901)
  int threads;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "fp32, bf16 or auto: bf16 where the processor has it (default: ${DEFAULT-VALUE}).",
      defaultValue = "auto",
      order = 902)
  String dtype;

  @Spec(Spec.Target.MIXEE)
  CommandSpec command;

  private String resolved;

  /** The device's name, with {@code auto} decided. */
  String device() {
    if (resolved == null) {
      resolved = Devices.resolve(device, command.commandLine().getErr());
    }
    return resolved;
  }

  Device open() {
    return Device.open(device(), threads);
  }

  /** The dtype asked for, or the device's best. */
  DType dtype(Device on) {
    return dtype.equals("auto") ? TrainStep.defaultDType(on) : DType.parse(dtype);
  }
}
