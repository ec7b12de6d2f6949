package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;

/**
 * What the library that runs a definition takes for granted. It does not return an error where this
 * is broken, it ends the process, so it must never see such a file.
 */
final class DefinitionCheck {
  private final Path file;

  private DefinitionCheck(Path file) {
    this.file = file;
  }

  static void check(Path file, JsonNode definition) {
    DefinitionCheck check = new DefinitionCheck(file);
    check.processor(definition.path("post_processor"));
    check.joins(definition.path("model"));
  }

  private InvalidInputException wrong(String what) {
    return InvalidInputException.of(file, what);
  }

  private void processor(JsonNode processor) {
    switch (processor.path("type").asText("")) {
      case "Sequence" -> processor.path("processors").forEach(this::processor);
      case "TemplateProcessing" -> {
        template(processor, "single", "A");
        template(processor, "pair", "A", "B");
      }
      default -> {}
    }
  }

  /** Every part is a text there is, or a special token that is defined. */
  private void template(JsonNode processor, String name, String... texts) {
    for (JsonNode part : processor.path(name)) {
      String text = part.path("Sequence").path("id").asText("");
      String special = part.path("SpecialToken").path("id").asText(null);
      boolean known = special != null && processor.path("special_tokens").has(special);
      for (String one : texts) {
        known |= text.equals(one);
      }
      if (!known) {
        throw wrong("post_processor: " + name + " names " + part + ", which is not defined");
      }
    }
    for (JsonNode token : processor.path("special_tokens")) {
      if (token.path("ids").size() != token.path("tokens").size() || token.path("ids").isEmpty()) {
        throw wrong("post_processor: as many ids as tokens are needed, got " + token);
      }
    }
  }

  /** The right side of a merge begins with the prefix of continuations. */
  private void joins(JsonNode model) {
    String prefix = model.path("continuing_subword_prefix").asText("");
    if (!model.path("type").asText("").equals("BPE") || prefix.isEmpty()) {
      return;
    }
    for (JsonNode merge : model.path("merges")) {
      String right =
          merge.isArray()
              ? merge.path(1).asText()
              : merge.asText().substring(merge.asText().lastIndexOf(' ') + 1);
      if (!right.startsWith(prefix)) {
        throw wrong("merge " + merge + " does not continue with '" + prefix + "'");
      }
    }
  }
}
