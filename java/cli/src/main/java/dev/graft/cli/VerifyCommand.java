package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.GraftException;
import dev.graft.bindings.NativeLibraries;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.Device;
import dev.graft.verify.StepCheck;
import dev.graft.verify.StepCheck.Case;
import dev.graft.verify.StepCheck.Finding;
import dev.graft.verify.StepSpeed;
import dev.graft.verify.StepSpeed.Workload;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft verify}. */
@Command(
    name = "verify",
    description = {
      "Checks that a CUDA device computes what the CPU computes: the native tests of every kernel,"
          + " whole training steps of small GPT-2s and BERTs beside the CPU's, and that repeats"
          + " have the same bits. On a card it then measures training steps.",
      "",
      "--device emulate runs the CUDA kernels on the processor and needs no card."
    },
    footer = {
      "Examples:",
      "  graft verify --device emulate",
      "  graft verify --device cuda --json",
      "  graft verify --device emulate --tests 'CudaAdamW*'"
    })
final class VerifyCommand extends GraftCommand {
  /** System property: the native tests' program, which the launcher builds. */
  static final String NATIVE_TESTS = "dev.graft.verify.tests";

  /** Steps whose median is a figure. */
  private static final int STEPS = 20;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      description = "cuda, cuda:N or emulate (default: ${DEFAULT-VALUE}).",
      defaultValue = "cuda")
  String device;

  @Option(
      names = "--tests",
      paramLabel = "FILTER",
      description = "Of the native tests those alone (GoogleTest's filter; default: all).",
      defaultValue = "*")
  String tests;

  @Option(
      names = "--full",
      description = "The whole grid of shapes; on a card that is the default.")
  boolean full;

  @Option(
      names = "--repeats",
      paramLabel = "N",
      description = "Runs whose bits are compared (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  int repeats;

  @Option(names = "--json", description = "Print one JSON object.")
  boolean json;

  /** Counts of one part. */
  private static final class Counts {
    int passed;
    int failed;
    int skipped;

    void put(ObjectNode to) {
      to.put("passed", passed).put("failed", failed).put("skipped", skipped);
    }

    @Override
    public String toString() {
      return passed + " passed, " + failed + " failed, " + skipped + " skipped";
    }
  }

  private final ObjectNode report = Json.object();
  private boolean failed;

  @Override
  public Integer call() {
    if (repeats < 2) {
      throw new InvalidInputException("--repeats: expected at least 2, got " + repeats);
    }
    if (device.equals("cpu") || device.equals("auto")) {
      throw new InvalidInputException("--device: expected cuda, cuda:N or emulate, got " + device);
    }
    try (Device on = Device.open(Devices.resolve(device, err()), 0)) {
      describe(on);
      nativeTests(on);
      steps(on);
      repeats(on);
      if (!on.name().equals("emulate")) {
        speed(on);
      }
    }
    report.put("passed", !failed);
    if (json) {
      json(report);
    }
    return failed ? ExitCode.FAILED : ExitCode.DONE;
  }

  private void describe(Device on) {
    boolean emulated = on.name().equals("emulate");
    CudaBackend.Card card = emulated ? null : CudaBackend.cards().get(indexOf(on));
    report.put("device", on.name());
    report.put("card", emulated ? "none, emulated" : card.name());
    if (!emulated) {
      report.put("driver", card.driver());
    }
    report.put("matrix_products", on.gemm().description());
    say("device", on.name() + (emulated ? "" : ", " + card.name() + ", driver " + card.driver()));
    say("matrix products", on.gemm().description());
  }

  private static int indexOf(Device on) {
    return Integer.parseInt(on.name().replaceFirst(".*:", ""));
  }

  private void nativeTests(Device on) {
    String property = System.getProperty(NATIVE_TESTS, "");
    ObjectNode part = report.putObject("native_tests");
    if (property.isEmpty() || !Files.isExecutable(Path.of(property))) {
      failed = true;
      part.put("reason", "not built");
      say("native tests", "not run: they are not built (./graft verify builds them; GoogleTest)");
      return;
    }
    boolean emulated = on.name().equals("emulate");
    NativeSuite.Result result =
        NativeSuite.run(
            Path.of(property),
            emulated ? null : NativeLibraries.cudaPlugin().orElseThrow(),
            full || !emulated,
            tests,
            err());
    Counts counts = new Counts();
    counts.passed = result.passed();
    counts.skipped = result.skipped();
    counts.failed = result.failures().size();
    counts.put(part);
    part.put("seconds", result.seconds());
    result.failures().forEach(part.putArray("failures")::add);
    failed |= counts.failed > 0 || counts.passed == 0;
    say("native tests", counts + String.format(" (%.1f s)", result.seconds()));
    result.failures().forEach(name -> say("", "failed: " + name));
  }

  private void steps(Device on) {
    Counts counts = new Counts();
    double worst = 0;
    ObjectNode part = report.putObject("training_steps");
    List<String> lines = new ArrayList<>();
    for (Case what : Case.values()) {
      try {
        List<Finding> wrong = new ArrayList<>();
        for (Finding finding : StepCheck.compare(on, what)) {
          worst = Math.max(worst, finding.error() / finding.allowed());
          if (!finding.right()) {
            wrong.add(finding);
          }
        }
        counts.passed += wrong.isEmpty() ? 1 : 0;
        counts.failed += wrong.isEmpty() ? 0 : 1;
        for (Finding finding : wrong) {
          lines.add(
              String.format(
                  "failed: %s: %s is off by %.3g, %.3g may be",
                  what, finding.tensor(), finding.error(), finding.allowed()));
        }
      } catch (GraftException.Unsupported e) {
        counts.failed++;
        lines.add("failed: " + what + ": " + e.getMessage());
      }
    }
    counts.put(part);
    part.put("largest_error_of_allowed", Double.isFinite(worst) ? worst : null);
    lines.forEach(part.putArray("failures")::add);
    failed |= counts.failed > 0;
    say("training steps", counts + String.format("; largest error %.2f of what is allowed", worst));
    lines.forEach(line -> say("", line));
  }

  private void repeats(Device on) {
    Counts counts = new Counts();
    ObjectNode part = report.putObject("repeats");
    List<String> lines = new ArrayList<>();
    for (Case what : List.of(Case.GPT2_BF16_DROPOUT, Case.BERT_PRETRAINING_FP32_DROPOUT)) {
      try {
        List<String> different = StepCheck.repeat(on, what, repeats);
        counts.passed += different.isEmpty() ? 1 : 0;
        counts.failed += different.isEmpty() ? 0 : 1;
        different.forEach(name -> lines.add("failed: " + what + ": other bits in " + name));
      } catch (GraftException.Unsupported e) {
        counts.failed++;
        lines.add("failed: " + what + ": " + e.getMessage());
      }
    }
    counts.put(part);
    part.put("runs", repeats);
    lines.forEach(part.putArray("failures")::add);
    failed |= counts.failed > 0;
    say("same bits", counts + " (" + repeats + " runs each)");
    lines.forEach(line -> say("", line));
  }

  /** What the card does, for who compares; nothing fails here. */
  private void speed(Device on) {
    ObjectNode part = report.putObject("tokens_per_second");
    for (Workload what : Workload.values()) {
      try {
        double tokens = StepSpeed.tokensPerSecond(on, what, STEPS);
        part.put(what.name().toLowerCase(Locale.ROOT), Math.round(tokens));
        say("training speed", String.format("%s: %,.0f tokens/s", what, tokens));
      } catch (GraftException | IllegalStateException e) {
        say("training speed", what + ": not measured: " + e.getMessage());
      }
    }
  }

  private void say(String what, String text) {
    if (!json) {
      out().printf("%-17s %s%n", what, text);
      out().flush();
    }
  }
}
