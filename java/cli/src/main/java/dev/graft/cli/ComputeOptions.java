package dev.graft.cli;

import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import picocli.CommandLine.Option;

/** Where and in which dtype a command computes. */
final class ComputeOptions {
  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      description = "cpu, cuda or auto (default: ${DEFAULT-VALUE}).",
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

  Device open() {
    return Devices.open(device, threads);
  }

  /** The dtype asked for, or the device's best. */
  DType dtype(Device on) {
    return dtype.equals("auto") ? TrainStep.defaultDType(on) : DType.parse(dtype);
  }
}
