package dev.graft.model;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.model.Recording.Layout;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/** Which layers of a network a {@link Lora} means, by PEFT's rules. */
final class LoraTargets {
  /** Projections on the vocabulary, which the losses compute a chunk of rows at a time. */
  private static final Pattern VOCABULARY =
      Pattern.compile("(^|\\.)(lm_head|decoder|vocab_projector)\\.weight$");

  /** A linear layer. */
  record Linear(String module, Parameter weight, Part part, Layout layout) {}

  private final Network network;
  private final List<Linear> linears = new ArrayList<>();

  LoraTargets(Network network) {
    this.network = network;
    boolean conv1d = network.config() instanceof Gpt2Config;
    for (Parameter p : network.parameters.base()) {
      for (Part part : p.parts()) {
        if (p.matrix()
            && part.shape().length == 2
            && network.depth(p) > 0
            && !VOCABULARY.matcher(part.name()).find()) {
          String module = part.name().replaceFirst("\\.weight$", "");
          boolean inOut = conv1d && module.contains(".h.");
          linears.add(new Linear(module, p, part, inOut ? Layout.IN_OUT : Layout.OUT_IN));
        }
      }
    }
  }

  /** What {@code lora} leaves open, decided for the network. */
  Lora resolved(Lora lora) {
    List<String> targets = lora.targets();
    if (targets.isEmpty()) {
      targets =
          switch (network.config().modelType()) {
            case "gpt2" -> List.of("c_attn");
            case "distilbert" -> List.of("q_lin", "v_lin");
            default -> List.of("query", "value");
          };
    }
    List<String> modules = lora.modulesToSave();
    return new Lora(
        lora.rank(),
        lora.alpha(),
        lora.dropout(),
        lora.rankStabilised(),
        targets,
        modules == null ? heads() : modules);
  }

  private List<String> heads() {
    Set<String> heads = new LinkedHashSet<>();
    switch (network.task()) {
      case BASE, CAUSAL_LM, MASKED_LM, PRETRAINING -> {}
      default -> {
        for (Parameter p : network.parameters.base()) {
          for (Part part : p.parts()) {
            if (network.isHead(part.name())) {
              heads.add(part.name().replaceFirst("^(bert|roberta)\\.", "").split("\\.")[0]);
            }
          }
        }
      }
    }
    return List.copyOf(heads);
  }

  /** Whether a parameter is trained as a whole. */
  static boolean isSaved(Lora resolved, Parameter p) {
    return p.parts().stream().anyMatch(part -> isSaved(resolved, part.name()));
  }

  private static boolean isSaved(Lora resolved, String name) {
    return resolved.modulesToSave().stream().anyMatch(m -> ("." + name).contains("." + m + "."));
  }

  /**
   * The linear layers, first to last.
   *
   * @throws InvalidInputException if a target or a module to save is not there
   */
  List<Linear> of(Lora resolved) {
    for (String module : resolved.modulesToSave()) {
      if (!contains(module)) {
        throw new InvalidInputException(
            "lora: modulesToSave: nothing of this network is called " + module);
      }
    }
    if (resolved.targets().contains(Lora.ALL_LINEAR)) {
      return linears.stream()
          .filter(linear -> !network.isHead(linear.part().name()))
          .filter(linear -> !isSaved(resolved, linear.part().name()))
          .toList();
    }
    Set<Linear> found = new LinkedHashSet<>();
    for (String target : resolved.targets()) {
      List<Linear> matching =
          linears.stream()
              .filter(linear -> ("." + linear.module()).endsWith("." + target))
              .filter(linear -> !isSaved(resolved, linear.part().name()))
              .toList();
      if (matching.isEmpty()) {
        throw new InvalidInputException(
            "lora: targets: no linear layer is called " + target + "; there are " + names());
      }
      found.addAll(matching);
    }
    return linears.stream().filter(found::contains).toList();
  }

  /** Whether the network has tensors of a module. */
  boolean contains(String module) {
    return network.parameters.base().stream()
        .flatMap(p -> p.parts().stream())
        .anyMatch(part -> ("." + part.name()).contains("." + module + "."));
  }

  /** Whether {@code named} names targets, and they are the layers of {@code exact}. */
  boolean sameLayers(Lora exact, Lora named) {
    if (named.targets().isEmpty()) {
      return false;
    }
    try {
      return of(exact).equals(of(named));
    } catch (InvalidInputException e) {
      return false; // PEFT lets targets be named that are not there
    }
  }

  /** The layers' names as they end. */
  private Set<String> names() {
    Set<String> names = new TreeSet<>();
    linears.forEach(linear -> names.add(linear.module().replaceFirst(".*\\.", "")));
    return names;
  }

  /** Targets that mean the same to PEFT, which looks at every linear layer there is. */
  List<String> forPeft(Lora resolved) {
    List<String> modules = of(resolved).stream().map(Linear::module).toList();
    long meant =
        linears.stream()
            .filter(
                linear ->
                    resolved.targets().stream()
                        .anyMatch(target -> ("." + linear.module()).endsWith("." + target)))
            .count();
    return meant == modules.size() ? resolved.targets() : modules;
  }
}
