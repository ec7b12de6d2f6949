package dev.graft.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.Json;
import dev.graft.verify.SpeedResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** What verify found, as files: the same facts in JSON for programs and in Markdown for people. */
final class VerifyResults {
  /** Parts of a report that count, by their titles. */
  private static final List<Map.Entry<String, String>> CHECKS =
      List.of(
          Map.entry("/native_tests", "native tests of every kernel against the CPU backend"),
          Map.entry("/sanitizer/memcheck", "the same under compute-sanitizer memcheck"),
          Map.entry("/sanitizer/racecheck", "the same under compute-sanitizer racecheck"),
          Map.entry("/sanitizer/initcheck", "the same under compute-sanitizer initcheck"),
          Map.entry("/sanitizer/synccheck", "the same under compute-sanitizer synccheck"),
          Map.entry("/products", "matrix products beside sums in double"),
          Map.entry("/training_steps", "training steps beside the CPU's"),
          Map.entry("/repeats", "repeats with the same bits"));

  private VerifyResults() {}

  /** The files without their endings: the card's name and the date. */
  static Path path(Path folder, ObjectNode report) {
    String card = report.path("card").asText().toLowerCase(Locale.ROOT);
    String words = card.replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
    return folder.resolve(words + "-" + report.path("date").asText());
  }

  /**
   * The parts that an earlier run of the same card, day and commit wrote, by their names, for a
   * verification may be done in several runs; empty if there was none.
   */
  static ObjectNode earlier(Optional<Path> folder, ObjectNode report) {
    ObjectNode parts = Json.object();
    Path file = folder.map(at -> json(path(at, report))).orElse(null);
    if (file == null || !Files.isRegularFile(file)) {
      return parts;
    }
    ObjectNode before = Json.readObject(file);
    if (before.path("commit").equals(report.path("commit"))) {
      for (VerifyPart part : VerifyPart.values()) {
        if (before.has(part.field())) {
          parts.set(part.field(), before.get(part.field()));
        }
      }
    }
    return parts;
  }

  /**
   * Writes both files, in place of those of the same card and day.
   *
   * @param earlier parts that this run does not do, see {@link #earlier}
   */
  static void write(Optional<Path> folder, ObjectNode report, ObjectNode earlier) {
    if (folder.isEmpty()) {
      return;
    }
    ObjectNode whole = report.deepCopy();
    whole.setAll(earlier);
    whole.put("passed", report.path("passed").asBoolean() && !hasFailed(earlier));
    Path base = path(folder.get(), report);
    text(json(base), Json.pretty(whole) + "\n");
    text(base.resolveSibling(base.getFileName() + ".md"), markdown(whole));
  }

  private static boolean hasFailed(JsonNode part) {
    if (part.path("failed").asInt() > 0 || part.has("reason")) {
      return true;
    }
    for (JsonNode inner : part) {
      if (inner.isObject() && hasFailed(inner)) {
        return true;
      }
    }
    return false;
  }

  private static Path json(Path base) {
    return base.resolveSibling(base.getFileName() + ".json");
  }

  private static void text(Path file, String text) {
    AtomicFiles.write(file, text.getBytes(StandardCharsets.UTF_8));
  }

  /** One measured case, for a terminal. */
  static String line(SpeedResult result) {
    StringBuilder line =
        new StringBuilder(
            String.format(
                Locale.ROOT,
                "%-32s %-28s %s, %.0f %% of the limit",
                result.name(),
                result.shape(),
                time(result.seconds()),
                100 * result.ofLimit()));
    if (result.tokens() > 0) {
      line.append(
          String.format(Locale.ROOT, ", %,.0f tokens/s", result.tokens() / result.seconds()));
    }
    result
        .fastestPeer()
        .ifPresent(
            peer ->
                line.append(
                    String.format(
                        Locale.ROOT,
                        ", %.2f times %s (%s)",
                        result.ratio(),
                        peer.getKey(),
                        time(peer.getValue()))));
    result.refused().forEach((peer, why) -> line.append(", ").append(peer).append(" did not run"));
    return line.toString();
  }

  private static String time(double seconds) {
    return seconds < 1e-3
        ? String.format(Locale.ROOT, "%.1f us", 1e6 * seconds)
        : String.format(Locale.ROOT, "%.2f ms", 1e3 * seconds);
  }

  static String markdown(ObjectNode report) {
    List<String> lines = new ArrayList<>();
    boolean emulated = report.path("card").asText().equals("emulated");
    lines.add("# Verified on " + (emulated ? "the emulated card" : report.path("card").asText()));
    lines.add("");
    lines.add(
        emulated
            ? "No GPU: the CUDA kernels ran on the processor, on small shapes. Its times say nothing."
            : String.format(
                Locale.ROOT,
                "%s, %.0f GiB, compute capability %s, driver for CUDA %s, %s.",
                report.path("card").asText(),
                report.path("memory_bytes").asDouble() / (1 << 30),
                report.path("capability").asText(),
                report.path("driver").asText(),
                report.path("matrix_products").asText()));
    lines.add("");
    lines.add(
        String.format(
            "`./graft verify --device %s`, commit %s, %s; %s. The JSON beside this page has all"
                + " figures.",
            report.path("device").asText(),
            report.path("commit").asText(),
            report.path("date").asText(),
            report.path("passed").asBoolean() ? "nothing failed" : "**something failed**"));
    checks(lines, report);
    if (report.at("/speed/limits").isObject()) {
      speed(lines, report.path("speed"));
    }
    return String.join("\n", lines) + "\n";
  }

  private static void checks(List<String> lines, ObjectNode report) {
    lines.addAll(List.of("", "## Checks", "", "| check | passed | failed | skipped |"));
    lines.add("|---|---:|---:|---:|");
    List<String> failures = new ArrayList<>();
    for (Map.Entry<String, String> check : CHECKS) {
      JsonNode part = report.at(check.getKey());
      if (part.isMissingNode()) {
        continue;
      }
      lines.add(
          part.has("passed")
              ? String.format(
                  "| %s | %d | %d | %d |",
                  check.getValue(),
                  part.path("passed").asInt(),
                  part.path("failed").asInt(),
                  part.path("skipped").asInt())
              : String.format("| %s | not run: %s | | |", check.getValue(), reason(part)));
      part.path("failures").forEach(failure -> failures.add("- " + failure.asText()));
    }
    JsonNode sanitizer = report.path("sanitizer");
    if (sanitizer.has("not_run")) {
      lines.add(
          String.format(
              "| compute-sanitizer | not run: %s | | |", sanitizer.path("not_run").asText()));
    }
    report.at("/speed/failures").forEach(failure -> failures.add("- " + failure.asText()));
    if (!failures.isEmpty()) {
      lines.addAll(List.of("", "Failed:", ""));
      lines.addAll(failures);
    }
  }

  private static String reason(JsonNode part) {
    return part.path("reason").asText();
  }

  private static void speed(List<String> lines, JsonNode speed) {
    JsonNode limits = speed.path("limits");
    lines.addAll(List.of("", "## Speed", ""));
    lines.add(
        String.format(
            Locale.ROOT,
            "Limits, measured in this run: copy %.0f GB/s (read + write), products %.1f TFLOP/s in"
                + " bf16 and %.1f in fp32.",
            limits.path("copy_bytes_per_second").asDouble() * 1e-9,
            limits.path("bf16_flops").asDouble() * 1e-12,
            limits.path("fp32_flops").asDouble() * 1e-12));
    JsonNode torch = speed.path("pytorch");
    lines.add(
        torch.isMissingNode()
            ? "No peer was measured."
            : String.format(
                "Peers, in turn: PyTorch %s, transformers %s, on %s.",
                torch.path("torch").asText(),
                torch.path("transformers").asText(),
                torch.path("device").asText()));
    lines.add(
        "Medians; *spread* is the distance of the quartiles; *limit* is the larger of bytes and"
            + " FLOPs at those rates; the *ratio* is to the fastest peer, above 1 where Graft is"
            + " faster.");
    table(lines, "Kernels", "µs", 1, speed.path("kernels"));
    table(lines, "Models", "ms", 1e-3, speed.path("models"));
  }

  private static void table(
      List<String> lines, String title, String unit, double scale, JsonNode cases) {
    if (cases.isEmpty()) {
      return;
    }
    boolean tokens = cases.get(0).has("tokens_per_second");
    lines.addAll(List.of("", "### " + title, ""));
    lines.add(
        String.format(
            "| what | shape | %s | spread | limit, %s | of limit |%s peers, %s | ratio |",
            unit, unit, tokens ? " tokens/s |" : "", unit));
    lines.add("|---|---|---:|---:|---:|---:|" + (tokens ? "---:|" : "") + "---|---:|");
    for (JsonNode one : cases) {
      List<String> peers = new ArrayList<>();
      one.path("peers_microseconds")
          .properties()
          .forEach(
              peer -> peers.add(peer.getKey() + " " + number(scale * peer.getValue().asDouble())));
      one.path("peers_refused").fieldNames().forEachRemaining(name -> peers.add(name + " failed"));
      lines.add(
          String.format(
              Locale.ROOT,
              "| %s | %s | %s | %.0f %% | %s | %.0f %% |%s %s | %s |",
              one.path("name").asText(),
              one.path("shape").asText(),
              number(scale * one.path("microseconds").asDouble()),
              100 * one.path("spread").asDouble(),
              number(scale * one.path("limit_microseconds").asDouble()),
              100 * one.path("of_limit").asDouble(),
              tokens
                  ? String.format(Locale.ROOT, " %,.0f |", one.path("tokens_per_second").asDouble())
                  : "",
              String.join(", ", peers),
              one.has("ratio_to_fastest_peer")
                  ? String.format(Locale.ROOT, "%.2f", one.path("ratio_to_fastest_peer").asDouble())
                  : ""));
    }
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, value < 100 ? "%.1f" : "%.0f", value);
  }
}
