package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Limits;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Recompute;
import dev.graft.model.Task;
import dev.graft.model.TrainStep;
import dev.graft.runtime.Device;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft bench memory}: what a training step holds. */
@Command(
    name = "memory",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "What a training step holds on a device: weights, gradients, moments, and the activations at"
            + " each level of --recompute, as they are laid out when the step is recorded. Nothing is"
            + " computed, so that --device emulate shows a card's figures without one.")
final class MemoryCommand implements Callable<Integer> {
  @Mixin ModelShape shape;

  @Option(
      names = "--batch",
      description = "Sequences of a step (default: ${DEFAULT-VALUE}).",
      defaultValue = "16")
  int batch;

  @Option(
      names = "--device",
      description = "cpu, cuda, cuda:N or emulate (default: ${DEFAULT-VALUE}).",
      defaultValue = "cpu")
  String device;

  @Option(names = "--json", description = "One JSON object on standard output.")
  boolean json;

  @Override
  public Integer call() {
    ModelConfig config = shape.config().withDropout(0, 0, 0);
    int length = shape.length();
    long all = (long) batch * length;
    if (batch < 1 || length < 1 || length > config.maxPositions() || all % 128 != 0) {
      throw new InvalidInputException(
          String.format(
              "expected sequences of 1 to %d tokens, a multiple of 128 together, got %d of %d",
              config.maxPositions(), batch, length));
    }
    boolean words = !config.modelType().equals("gpt2");
    // As many as are masked on average.
    int masked = words ? (int) (all * 15 / 100) : 0;
    ObjectNode line =
        Json.object().put("model", shape.model).put("dtype", shape.dtype).put("tokens", all);
    try (Device on = Device.open(device, 0);
        Network network =
            Network.create(on, config, words ? Task.MASKED_LM : Task.CAUSAL_LM, shape.type(), 1);
        TrainStep step =
            new TrainStep(
                network,
                new Limits((int) all, batch, length),
                OptimizerOptions.defaults(),
                false)) {
      for (Map.Entry<String, Long> held : on.held().entrySet()) {
        line.put(held.getKey(), held.getValue());
      }
      for (Recompute level : Recompute.values()) {
        line.put(
            "activations, recompute " + level.name().toLowerCase(Locale.ROOT),
            step.activationBytes((int) all, masked, level));
      }
    }
    if (json) {
      System.out.println(Json.line(line));
    } else {
      line.properties()
          .forEach(
              one ->
                  System.out.printf(
                      Locale.ROOT,
                      one.getValue().isNumber() ? "%-32s %,18d%n" : "%-32s %18s%n",
                      one.getKey(),
                      one.getValue().isNumber()
                          ? (Object) one.getValue().longValue()
                          : one.getValue().asText()));
    }
    return 0;
  }
}
