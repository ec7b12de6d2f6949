package dev.graft.program;

import dev.graft.runtime.Device;
import dev.graft.runtime.FusionChoice;
import dev.graft.runtime.OutOfDeviceMemoryException;
import dev.graft.runtime.Tensor;
import dev.graft.runtime.UnsupportedEpilogueException;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.function.BiConsumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs a {@link Fusion} both ways on operands of its own, which lie as a program's do. Each way is
 * a program, so that its calls are captured as those of a step are.
 */
final class FusionTiming {
  private static final Logger log = LoggerFactory.getLogger(FusionTiming.class);

  private static final int ROUNDS = 3;
  private static final int REPEATS = 7;

  private FusionTiming() {}

  /** Whether the one call is possible here. */
  static boolean isPossible(Device device, Fusion fusion) {
    try (ActivationArena arena = arena(device);
        Program program = record(arena, fusion, Fusion::fused)) {
      program.seal();
      return true;
    } catch (UnsupportedEpilogueException e) {
      log.debug("{}", e.getMessage());
      return false;
    }
  }

  /** Both times; null if there is no memory to measure in. */
  static FusionChoice measure(Device device, Fusion fusion) {
    try (ActivationArena arena = arena(device);
        Program separate = record(arena, fusion, Fusion::separate);
        Program fused = record(arena, fusion, Fusion::fused)) {
      separate.seal();
      warmUp(separate);
      double alone = Double.POSITIVE_INFINITY;
      double whole = Double.POSITIVE_INFINITY;
      boolean possible = true;
      try {
        fused.seal();
        warmUp(separate);
        warmUp(fused);
      } catch (UnsupportedEpilogueException e) {
        log.debug("{}", e.getMessage());
        possible = false;
      }
      // In turn, so that a change of the card's clock meets both.
      for (int round = 0; round < ROUNDS; round++) {
        alone = Math.min(alone, device.microseconds(REPEATS, separate::run));
        if (possible) {
          whole = Math.min(whole, device.microseconds(REPEATS, fused::run));
        }
      }
      return FusionChoice.of(whole, alone);
    } catch (OutOfDeviceMemoryException e) {
      return null;
    }
  }

  private static ActivationArena arena(Device device) {
    return new ActivationArena(device, "timing of products");
  }

  private static Program record(ActivationArena arena, Fusion fusion, BiConsumer<Fusion, Ops> way) {
    Program program = new Program("a product and what follows", arena);
    Map<Tensor, Tensor> own = new IdentityHashMap<>();
    Fusion copy =
        fusion.with(
            tensor ->
                tensor == null
                    ? null
                    : own.computeIfAbsent(
                        tensor, t -> program.activation(t.name(), t.dtype(), t.shape())));
    way.accept(copy, new Ops(program));
    return program;
  }

  /** The first run prepares kernels, the second captures. */
  private static void warmUp(Program program) {
    program.run();
    program.run();
  }
}
