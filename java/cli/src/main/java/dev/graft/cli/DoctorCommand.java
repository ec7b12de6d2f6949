package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.io.Json;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft doctor}. */
@Command(
    name = "doctor",
    description = "Shows what this machine offers, what is missing and how to get it.",
    footer = {"Examples:", "  graft doctor", "  graft doctor --json"})
final class DoctorCommand extends GraftCommand {
  private static final String[] ISA = {
    "baseline (SSE2)", "AVX2 + FMA", "AVX-512", "AVX-512 with bf16"
  };
  private static final double LITTLE_MEMORY_GIB = 2;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Processor threads (default: all).",
      defaultValue = "0")
  int threads;

  @Option(names = "--json", description = "Print one JSON object.")
  boolean json;

  @Override
  public Integer call() {
    ObjectNode report = report();
    List<String> advice = advice();
    if (json) {
      advice.forEach(report.putArray("advice")::add);
      json(report);
      return ExitCode.DONE;
    }
    report
        .properties()
        .forEach(
            e -> {
              String name = e.getKey().replace('_', ' ');
              boolean memory = name.endsWith(" gib");
              out()
                  .printf(
                      "%-17s %s%n",
                      memory ? name.substring(0, name.length() - 4) : name,
                      e.getValue().asText() + (memory ? " GiB" : ""));
            });
    out().println();
    out().println(advice.isEmpty() ? "Nothing is missing." : String.join("\n", advice));
    return ExitCode.DONE;
  }

  private ObjectNode report() {
    ObjectNode report = Json.object();
    report.put("graft", graft.graft_version().getString());
    report.put("abi", graft.graft_abi_version());
    report.put("java", Runtime.version() + ", " + System.getProperty("java.vendor"));
    report.put("java_home", System.getProperty("java.home"));
    report.put("system", Machine.system());
    report.put("processor", Machine.processor());
    report.put("cores", Runtime.getRuntime().availableProcessors());
    report.put("instruction_set", ISA[graft.graft_cpu_isa()]);
    try (Device device = Device.cpu(threads)) {
      report.put("threads", device.threads());
      report.put("matrix_products", device.gemm().description());
      DType dtype = TrainStep.defaultDType(device);
      report.put("default_dtype", dtype.label());
      report.put(
          "default_reason",
          dtype == DType.BFLOAT16
              ? "this processor multiplies bf16 itself"
              : "this processor has no bf16 products, so bf16 would not be faster");
    }
    report.put("memory_gib", Machine.memoryGib());
    Machine.freeMemoryGib().ifPresent(free -> report.put("free_memory_gib", free));
    report.put("java_heap_gib", Machine.heapGib());
    CudaReport.put(report);
    return report;
  }

  private static List<String> advice() {
    List<String> advice = new ArrayList<>();
    if (graft.graft_cpu_isa() == graft.GRAFT_ISA_BASELINE) {
      advice.add(
          "This processor has no AVX2: everything works, several times slower than it could.");
    }
    Machine.freeMemoryGib()
        .filter(free -> free < LITTLE_MEMORY_GIB)
        .ifPresent(
            free ->
                advice.add(
                    "Only "
                        + free
                        + " GiB of memory are free: take a small model or batch, or end other"
                        + " programs."));
    CudaReport.advice().ifPresent(advice::add);
    return advice;
  }
}
