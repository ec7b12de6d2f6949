package dev.graft.train;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What {@link Tuning} means for a network: which parameters train, how fast and from when. */
final class LayerPlan {
  private final Network network;
  private final Tuning tuning;
  private final long stageSteps;
  private final int top;

  /**
   * Sets the network's rates.
   *
   * @param stepsPerEpoch optimizer steps of a pass over the data, at least 1
   * @throws InvalidInputException if what is to be frozen is not there, or is all there is
   */
  LayerPlan(Network network, Tuning tuning, long stepsPerEpoch) {
    this.network = network;
    this.tuning = tuning;
    this.stageSteps = tuning.unfreezeEvery() < 0 ? stepsPerEpoch : tuning.unfreezeEvery();
    List<Freeze> frozen = tuning.freeze().stream().map(Freeze::new).toList();
    boolean adapts = network.lora() != null;
    network.setRates(
        p -> {
          // Each item is asked of every parameter, so that one which means nothing is found.
          long taken = frozen.stream().filter(item -> item.takes(p)).count();
          return taken > 0 || adapts && !network.isAdapted(p) ? 0 : rate(p);
        });
    for (Freeze item : frozen) {
      if (!item.used) {
        throw new InvalidInputException("freeze: nothing of this network is called " + item.text);
      }
    }
    top =
        network.parameters().all().stream()
            .filter(Parameter::trainable)
            .mapToInt(network::depth)
            .max()
            .orElseThrow(() -> new InvalidInputException("freeze: nothing is left to train"));
  }

  private double rate(Parameter p) {
    int head = network.config().layers() + 1;
    return Math.pow(tuning.layerDecay(), head - network.depth(p));
  }

  /** What trains of the whole and what that saves, in a line; empty if all of it does. */
  Optional<String> summary() {
    long all = network.parameters().count();
    long trained = network.parameters().trainableCount();
    long adapters =
        network.parameters().all().stream()
            .filter(p -> p.trainable() && p.name().contains(".lora_"))
            .mapToLong(p -> p.weight().count())
            .sum();
    if (trained == all) {
      return Optional.empty();
    }
    String parts =
        adapters == 0
            ? ""
            : String.format(" (%,d in adapters, %,d as they are)", adapters, trained - adapters);
    // A gradient and two moments, fp32.
    return Optional.of(
        String.format(
            "training %,d of %,d parameters, %.2f %%%s: %,.1f MB of gradients and moments instead"
                + " of %,.1f",
            trained, all, 100.0 * trained / all, parts, 12e-6 * trained, 12e-6 * all));
  }

  /** Depth of the lowest layer that trains in a step; see {@link Network#depth}. */
  int lowest(long step) {
    return stageSteps == 0 ? 0 : (int) Math.max(0, top - step / stageSteps);
  }

  /** Lets the layers below a depth rest. */
  void rest(int lowest) {
    network.setResting(p -> network.depth(p) < lowest);
  }

  /** One item of {@link Tuning#freeze}. */
  private final class Freeze {
    final String text;
    private final int below;
    private final Pattern name;
    private boolean used;

    Freeze(String text) {
      this.text = text;
      int layers = network.config().layers();
      below =
          switch (text) {
            case "embeddings" -> 1;
            case "encoder" -> layers + 1;
            default -> text.matches("\\d{1,4}") ? Integer.parseInt(text) + 1 : 0;
          };
      if (below > layers + 1) {
        throw new InvalidInputException(
            "freeze: expected at most " + layers + " layers, got " + text);
      }
      name =
          Pattern.compile(
              text.chars()
                  .mapToObj(c -> c == '*' ? ".*" : Pattern.quote(Character.toString(c)))
                  .collect(Collectors.joining()));
    }

    boolean takes(Parameter p) {
      boolean takes;
      if (below > 0) {
        takes = network.depth(p) < below;
      } else {
        long parts = p.parts().stream().filter(x -> name.matcher(x.name()).matches()).count();
        if (parts > 0 && parts < p.parts().size()) {
          throw new InvalidInputException(
              "freeze: "
                  + p.parts().stream().map(x -> x.name()).toList()
                  + " train together or not at all, but "
                  + text
                  + " names some of them");
        }
        takes = parts > 0;
      }
      used |= takes;
      return takes;
    }
  }
}
