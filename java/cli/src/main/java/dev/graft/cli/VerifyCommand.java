package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.GraftException;
import dev.graft.bindings.NativeLibraries;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.Device;
import dev.graft.runtime.UnsupportedEpilogueException;
import dev.graft.verify.DeviceLimits;
import dev.graft.verify.ProductCheck;
import dev.graft.verify.PyTorchPeer;
import dev.graft.verify.SpeedBench;
import dev.graft.verify.SpeedCase;
import dev.graft.verify.SpeedResult;
import dev.graft.verify.SpeedSuite;
import dev.graft.verify.StepCheck;
import dev.graft.verify.StepCheck.Case;
import dev.graft.verify.StepCheck.Finding;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft verify}. */
@Command(
    name = "verify",
    description = {
      "Checks that a CUDA device computes what the CPU computes: the native tests of every kernel,"
          + " the same under NVIDIA's compute-sanitizer, matrix products, whole training steps of"
          + " small GPT-2s and BERTs beside the CPU's, and that repeats have the same bits. Then it measures kernels"
          + " and models beside PyTorch and the device's limits, and writes all of it down.",
      "",
      "--device emulate runs the CUDA kernels on the processor and needs no card; it measures small"
          + " shapes, to go through the motions."
    },
    footer = {
      "Examples:",
      "  graft verify --device emulate",
      "  graft verify --device cuda --pytorch python3",
      "  graft verify --device cuda --parts tests,steps --json",
      "  graft verify --device emulate --tests 'CudaOptimizer*'"
    })
final class VerifyCommand extends GraftCommand {
  /** System property: the native tests' program, which the launcher builds. */
  static final String NATIVE_TESTS = "dev.graft.verify.tests";

  /** System property: where results of a card are written if nothing else is said. */
  static final String RESULTS = "dev.graft.verify.results";

  /** System property: the commit the program was built from. */
  static final String COMMIT = "dev.graft.verify.commit";

  private static final String LOST = "the device was lost, see above";
  private static final String NO_PYTORCH = "none";
  private static final String DEFAULT_PYTHON = "python3";

  /** Seconds about that one side of a measured case may take. */
  private static final double CARD_BUDGET = 1;

  private static final double EMULATED_BUDGET = 0.02;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      description = "cuda, cuda:N or emulate (default: ${DEFAULT-VALUE}).",
      defaultValue = "cuda")
  String device;

  @Option(
      names = "--parts",
      paramLabel = "PART",
      split = ",",
      description =
          "Of tests, sanitizer, products, steps, repeats, speed those alone (default: all).")
  List<String> parts;

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

  @Option(
      names = "--pytorch",
      paramLabel = "PYTHON",
      description =
          "Measure PyTorch beside it by this Python (bench/peers/requirements.txt), or none"
              + " (default: on a card python3 where it has transformers and a torch that sees the"
              + " card, else none).")
  String python;

  @Option(
      names = "--results",
      paramLabel = "FOLDER",
      description =
          "Where CARD-DATE.md and CARD-DATE.json go (default: docs/results for a card, else they are"
              + " not written). Parts that are there of the same card, day and commit stay.")
  Path results;

  @Option(names = "--json", description = "Print one JSON object.")
  boolean json;

  private final ObjectNode report = Json.object();
  private ObjectNode earlier = Json.object();
  private boolean failed;
  private boolean emulated;
  private boolean lost;

  @Override
  public Integer call() {
    if (repeats < 2) {
      throw new InvalidInputException("--repeats: expected at least 2, got " + repeats);
    }
    if (device.equals("cpu") || device.equals("auto")) {
      throw new InvalidInputException("--device: expected cuda, cuda:N or emulate, got " + device);
    }
    Set<VerifyPart> wanted = wanted();
    emulated = device.equals("emulate");
    String peer = wanted.contains(VerifyPart.SPEED) ? peer() : NO_PYTORCH;
    try (Device on = Device.open(Devices.resolve(device, err()), 0)) {
      describe(on);
      earlier = VerifyResults.earlier(folder(), report);
      for (VerifyPart part : wanted) {
        earlier.remove(part.field());
        if (lost) {
          report.putObject(part.field()).put("reason", LOST);
          say(part.field().replace('_', ' '), "not run: " + LOST);
          continue;
        }
        switch (part) {
          case TESTS ->
              nativeTests(List.of(), "native tests", report.putObject(VerifyPart.TESTS.field()));
          case SANITIZER -> sanitizer();
          case PRODUCTS -> products(on);
          case STEPS -> steps(on);
          case REPEATS -> repeats(on);
          case SPEED -> speed(on, peer);
        }
        write();
      }
    }
    folder().ifPresent(at -> say("written", VerifyResults.path(at, report) + ".md and .json"));
    if (json) {
      json(report);
    }
    return failed ? ExitCode.FAILED : ExitCode.DONE;
  }

  /** What is known so far outlives a later part or case that takes the process with it. */
  private void write() {
    report.put("passed", !failed);
    VerifyResults.write(folder(), report, earlier);
  }

  private Set<VerifyPart> wanted() {
    if (parts == null) {
      return EnumSet.allOf(VerifyPart.class);
    }
    Set<VerifyPart> wanted = EnumSet.noneOf(VerifyPart.class);
    for (String name : parts) {
      try {
        wanted.add(VerifyPart.valueOf(name.toUpperCase(Locale.ROOT)));
      } catch (IllegalArgumentException e) {
        throw new InvalidInputException(
            "--parts: expected tests, sanitizer, products, steps, repeats or speed, got " + name);
      }
    }
    return wanted;
  }

  private Optional<Path> folder() {
    if (results != null) {
      return Optional.of(results);
    }
    String property = System.getProperty(RESULTS, "");
    return emulated || property.isEmpty() ? Optional.empty() : Optional.of(Path.of(property));
  }

  private void describe(Device on) {
    report.put("date", LocalDate.now(ZoneOffset.UTC).toString());
    report.put("commit", System.getProperty(COMMIT, "unknown"));
    report.put("device", on.name());
    if (emulated) {
      report.put("card", "emulated");
    } else {
      CudaBackend.Card card =
          CudaBackend.cards().get(Integer.parseInt(on.name().replaceFirst(".*:", "")));
      report.put("card", card.name());
      report.put("memory_bytes", card.memoryBytes());
      report.put("capability", card.capability() / 10 + "." + card.capability() % 10);
      report.put("driver", card.driver());
    }
    report.put("matrix_products", on.gemm().description());
    say(
        "device",
        on.name()
            + (emulated
                ? ""
                : ", "
                    + report.path("card").asText()
                    + ", CUDA "
                    + report.path("driver").asText()));
    say("matrix products", on.gemm().description());
  }

  /** Under a wrapper only the small grid, for a sanitizer is slow. */
  private void nativeTests(List<String> wrapper, String what, ObjectNode part) {
    String property = System.getProperty(NATIVE_TESTS, "");
    if (property.isEmpty() || !Files.isExecutable(Path.of(property))) {
      failed = true;
      part.put("reason", "not built");
      say(what, "not run: they are not built (./graft verify builds them; GoogleTest)");
      return;
    }
    NativeSuite.Result result =
        NativeSuite.run(
            wrapper,
            Path.of(property),
            emulated ? null : NativeLibraries.cudaPlugin().orElseThrow(),
            wrapper.isEmpty() && (full || !emulated),
            tests,
            err());
    VerifyCounts counts = new VerifyCounts();
    counts.passed = result.passed();
    counts.skipped = result.skipped();
    result.failures().forEach(counts::fail);
    if (counts.passed + counts.failed == 0) {
      counts.fail("no test has a name like " + tests);
    }
    finish(what, counts, part, String.format(" (%.1f s)", result.seconds()));
    part.put("seconds", result.seconds());
  }

  private void sanitizer() {
    ObjectNode part = report.putObject(VerifyPart.SANITIZER.field());
    Optional<Path> program = Sanitizer.find();
    String reason =
        emulated
            ? "the emulated device finds the same faults itself"
            : program.isEmpty() ? "compute-sanitizer is not installed (cuda-sanitizer-api)" : null;
    if (reason != null) {
      part.put("not_run", reason);
      say("sanitizer", "not run: " + reason);
      return;
    }
    for (String tool : Sanitizer.TOOLS) {
      nativeTests(Sanitizer.command(program.get(), tool), tool, part.putObject(tool));
      write();
    }
  }

  private void products(Device on) {
    VerifyCounts counts = new VerifyCounts();
    ObjectNode part = report.putObject(VerifyPart.PRODUCTS.field());
    check(
        ProductCheck.cases(),
        counts,
        what -> {
          try {
            List<String> wrong = off(what, ProductCheck.compare(on, what));
            counts.count(wrong.isEmpty() ? wrong : List.of(String.join("; ", wrong)));
          } catch (UnsupportedEpilogueException e) {
            counts.skipped++; // what follows the product is then a kernel of its own
          }
        });
    finish("products", counts, part, "");
  }

  /** Each case, while the device works. */
  private <C> void check(List<C> cases, VerifyCounts counts, Consumer<C> check) {
    for (C what : cases) {
      try {
        check.accept(what);
      } catch (RuntimeException e) {
        fail(counts, what, e);
      }
      if (lost) {
        return;
      }
    }
  }

  /** What is wrong with a case. */
  private static List<String> off(Object what, List<Finding> findings) {
    return findings.stream()
        .filter(finding -> !finding.right())
        .map(
            finding ->
                String.format(
                    "%s: %s is off by %.3g, %.3g may be",
                    what, finding.tensor(), finding.error(), finding.allowed()))
        .toList();
  }

  private void steps(Device on) {
    VerifyCounts counts = new VerifyCounts();
    List<Finding> all = new ArrayList<>();
    ObjectNode part = report.putObject(VerifyPart.STEPS.field());
    check(
        List.of(Case.values()),
        counts,
        what -> {
          List<Finding> findings = StepCheck.compare(on, what);
          all.addAll(findings);
          counts.count(off(what, findings));
        });
    double worst = 0;
    for (Finding finding : all) {
      worst = Math.max(worst, finding.error() / finding.allowed());
    }
    finish(
        "training steps",
        counts,
        part,
        String.format("; largest error %.2f of what is allowed", worst));
    part.put("largest_error_of_allowed", Double.isFinite(worst) ? worst : null);
  }

  private void repeats(Device on) {
    VerifyCounts counts = new VerifyCounts();
    ObjectNode part = report.putObject(VerifyPart.REPEATS.field());
    check(
        List.of(Case.GPT2_BF16_DROPOUT, Case.BERT_PRETRAINING_FP32_DROPOUT),
        counts,
        what -> {
          List<String> different = StepCheck.repeat(on, what, repeats);
          counts.count(
              different.isEmpty()
                  ? List.of()
                  : List.of(what + ": other bits in " + String.join(", ", different)));
        });
    finish("same bits", counts, part, " (" + repeats + " runs each)");
    part.put("runs", repeats);
  }

  private void speed(Device on, String peer) {
    SpeedSuite suite = emulated ? SpeedSuite.SMALL : SpeedSuite.CARD;
    ObjectNode part = report.putObject(VerifyPart.SPEED.field());
    VerifyCounts counts = new VerifyCounts();
    try (PyTorchPeer pytorch =
        peer.equals(NO_PYTORCH) ? null : PyTorchPeer.start(peer, peerDevice(), 0)) {
      if (pytorch != null) {
        part.set("pytorch", pytorch.info());
        say("PyTorch", pytorch.info().path("torch").asText());
      } else {
        boolean missing = python == null && !emulated;
        say(
            "PyTorch",
            "not measured"
                + (missing
                    ? ": " + DEFAULT_PYTHON + " has no transformers and torch that sees the card"
                    : ""));
      }
      DeviceLimits limits;
      try {
        limits = DeviceLimits.measure(on, suite.limits());
      } catch (RuntimeException e) {
        fail(counts, "limits", e);
        finish("measured", counts, part, "");
        return;
      }
      part.putObject("limits")
          .put("copy_bytes_per_second", limits.bytesPerSecond())
          .put("fp32_flops", limits.flopsFp32())
          .put("bf16_flops", limits.flopsBf16());
      say(
          "limits",
          String.format(
              "copy %.0f GB/s, products fp32 %.1f and bf16 %.1f TFLOP/s",
              limits.bytesPerSecond() * 1e-9,
              limits.flopsFp32() * 1e-12,
              limits.flopsBf16() * 1e-12));
      SpeedBench bench =
          new SpeedBench(on, limits, pytorch, emulated ? EMULATED_BUDGET : CARD_BUDGET);
      measure(bench, suite.kernels(on), part.putArray("kernels"), counts);
      measure(bench, suite.models(on), part.putArray("models"), counts);
    }
    finish("measured", counts, part, "");
  }

  private void measure(
      SpeedBench bench, List<Supplier<SpeedCase>> cases, ArrayNode to, VerifyCounts counts) {
    for (Supplier<SpeedCase> supplier : cases) {
      String name = "case " + to.size();
      try (SpeedCase one = supplier.get()) {
        name = one.name() + " " + one.shape();
        SpeedResult result = bench.measure(one);
        to.add(result.json());
        counts.passed++;
        say("", VerifyResults.line(result));
      } catch (RuntimeException e) {
        fail(counts, name, e);
      }
      write();
      if (lost) {
        break;
      }
    }
  }

  /**
   * The Python to measure beside, or none.
   *
   * @throws InvalidInputException if the user named one that cannot do it
   */
  private String peer() {
    if (NO_PYTORCH.equals(python) || (python == null && emulated)) {
      return NO_PYTORCH;
    }
    String program = python == null ? DEFAULT_PYTHON : python;
    if (PyTorchPeer.isThere(program, peerDevice())) {
      return program;
    }
    if (python != null) {
      throw new InvalidInputException(
          "--pytorch: "
              + python
              + " has no torch and transformers"
              + (emulated ? "" : ", or its torch sees no CUDA device"));
    }
    return NO_PYTORCH;
  }

  private String peerDevice() {
    return emulated ? "cpu" : "cuda";
  }

  /** Any failure is a finding, and others are looked for all the same while the device works. */
  private void fail(VerifyCounts counts, Object what, RuntimeException e) {
    counts.fail(
        what + ": " + (e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage()));
    failed = true;
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      lost |= cause instanceof GraftException.DeviceLost;
    }
  }

  private void finish(String what, VerifyCounts counts, ObjectNode part, String more) {
    counts.put(part);
    failed |= counts.failed > 0;
    say(what, counts + more);
    counts.failures.forEach(line -> say("", "failed: " + line));
  }

  private void say(String what, String text) {
    if (!json) {
      out().printf("%-17s %s%n", what, text);
      out().flush();
    }
  }
}
