package dev.graft.cli;

import dev.graft.io.InvalidInputException;
import dev.graft.runtime.CublasLt;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.Device;
import java.io.PrintWriter;

/** Devices by the names users write. */
final class Devices {
  private Devices() {}

  /**
   * The name a device is opened by; {@code auto} takes the first card, or the CPU, with a line that
   * says why where there is a card.
   *
   * @throws InvalidInputException if there is no such name, or CUDA cannot be used here
   */
  static String resolve(String name, PrintWriter err) {
    if (name.equals("auto")) {
      String why = whyNoCuda();
      if (why == null) {
        return "cuda:0";
      }
      if (Machine.hasCard()) {
        err.println("graft: --device auto takes the CPU, for " + why);
        err.flush();
      }
      return "cpu";
    }
    try {
      Device.requireName(name);
    } catch (IllegalArgumentException e) {
      throw new InvalidInputException("--device: expected cpu, cuda, cuda:N or auto, got " + name);
    }
    if (name.startsWith("cuda")) {
      String why = whyNoCuda();
      if (why != null) {
        throw new InvalidInputException(
            "--device " + name + ": " + why + "; graft doctor says what to install");
      }
    }
    return name;
  }

  /** Why models cannot be computed by CUDA here; null if they can. */
  static String whyNoCuda() {
    CudaBackend.Status cuda = CudaBackend.status();
    if (!cuda.available()) {
      return cuda.reason();
    }
    CublasLt.Status products = CublasLt.status();
    return products.available() ? null : products.reason();
  }
}
