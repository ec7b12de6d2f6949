package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Device;

/** Devices by the names users write. */
final class Devices {
  private Devices() {}

  static final String NO_CUDA =
      "this version trains and applies models on the CPU; its CUDA library holds attention and the"
          + " optimizer for other engines to call, not whole models yet";

  static Device open(String name, int threads) {
    return switch (name) {
      case "cpu", "auto" -> Device.cpu(threads);
      case "cuda" -> throw new InvalidInputException("--device cuda: " + NO_CUDA);
      default ->
          throw new InvalidInputException("--device: expected cpu, cuda or auto, got " + name);
    };
  }
}
