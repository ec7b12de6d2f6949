package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.data.BatchSource;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recompute;
import dev.graft.runtime.CudaBackend;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What must be the same for a resumed run to end bit-identical: the options that matter, model,
 * data, tokenizer, and the build and machine that decide how floats are rounded. How often a run
 * reports, evaluates and saves is not part of it, unless it may stop early.
 */
final class RunIdentity {
  private static final int CHUNK = 1 << 18;

  private final Map<String, String> values;

  private RunIdentity(Map<String, String> values) {
    this.values = values;
  }

  static RunIdentity of(
      Network network,
      BatchSource data,
      TokenizerFiles tokenizer,
      TrainingOptions options,
      long totalSteps) {
    Map<String, String> v = new LinkedHashMap<>();
    v.put("option steps (of the whole run)", Long.toString(totalSteps));
    v.put("option gradientAccumulation", Integer.toString(options.gradientAccumulation()));
    v.put("processes", Integer.toString(options.exchange().size()));
    v.put("option learningRate", Double.toString(options.learningRate()));
    v.put("option minLearningRate", Double.toString(options.minLearningRate()));
    v.put("option schedule", options.schedule().name());
    v.put("option warmup (steps)", Long.toString(options.warmup(totalSteps)));
    v.put("option optimizer", options.optimizer().name());
    v.put("option optimizerState", options.optimizerState().label());
    v.put("option weightDecay", Double.toString(options.weightDecay()));
    v.put("option decayAll", Boolean.toString(options.decayAll()));
    v.put("option beta1", Double.toString(options.beta1()));
    v.put("option beta2", Double.toString(options.beta2()));
    v.put("option eps", Double.toString(options.eps()));
    v.put("option clip", Double.toString(options.clip()));
    v.put("option seed", Long.toString(options.seed()));
    v.put("option tuning", Json.line(options.tuning().toJson()));
    v.put("option objective", Json.line(options.objective().toJson()));
    if (options.selection().patience() > 0) {
      v.put("option selection", Json.line(options.selection().toJson()));
      v.put("option evalEvery", Long.toString(options.evalEvery()));
    }
    v.put("option dtype", network.dtype().label());
    v.put("model task", network.task().name());
    v.put("model config", Json.line(network.config().toJson(network.task())));
    if (network.lora() != null) {
      v.put("model weights under the adapter", frozen(network));
    }
    v.put("data fingerprint", data.fingerprint());
    v.put("data batchesPerEpoch", Long.toString(data.batchesPerEpoch()));
    v.put("tokenizer", tokenizer == null ? "none" : hash(tokenizer));
    // Which of several equal devices it is changes no bit.
    v.put("device", network.device().model());
    v.put("instruction set", Integer.toString(graft.graft_cpu_isa()));
    // The vendor's matrix products may split their sums by the number of threads.
    v.put("threads", Integer.toString(network.device().threads()));
    v.put("matrix products", network.device().gemm().description());
    v.put("native library", Native.HASH);
    if (!network.device().isHost()) {
      v.put("CUDA library", Native.cudaHash());
      // The other levels have each other's bits: see Recompute.
      boolean apart = options.recompute() == Recompute.ACTIVATION;
      v.put("option recompute", apart ? "activation" : "none or block");
    }
    return new RunIdentity(v);
  }

  /** Hash of the weights a checkpoint leaves out because they do not change. */
  private static String frozen(Network network) {
    MessageDigest digest = Durable.sha256();
    ByteBuffer bytes = ByteBuffer.allocate(4 * CHUNK);
    for (Parameter p : network.parameters().all()) {
      if (network.isAdapted(p)) {
        continue;
      }
      for (long first = 0; first < p.weight().count(); first += CHUNK) {
        int count = (int) Math.min(CHUNK, p.weight().count() - first);
        bytes.clear();
        bytes.asFloatBuffer().put(p.weight().floats(first, count));
        digest.update(bytes.limit(4 * count));
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  /** Hash of the files the tokenizer saves. */
  private static String hash(TokenizerFiles tokenizer) {
    Path folder = null;
    try {
      folder = Files.createTempDirectory("graft-tokenizer");
      tokenizer.savePretrained(folder);
      MessageDigest digest = Durable.sha256();
      for (Path file : Durable.list(folder)) {
        digest.update(file.getFileName().toString().getBytes(StandardCharsets.UTF_8));
        digest.update(Durable.sha256(file).getBytes(StandardCharsets.UTF_8));
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw InvalidInputException.of(folder == null ? Path.of("tokenizer") : folder, e);
    } finally {
      try {
        if (folder != null) {
          Durable.deleteTree(folder);
        }
      } catch (IOException e) {
        // A temporary folder that stays is no reason to end a run.
      }
    }
  }

  /** Hash of the library that was loaded, read once a process. */
  private static final class Native {
    static final String HASH = hash();

    private static String hash() {
      String resource = "/dev/graft/bindings/" + org.bytedeco.javacpp.Loader.getPlatform();
      return hash(graft.class.getResourceAsStream(resource + "/libgraft.so.1"));
    }

    static String cudaHash() {
      try {
        return hash(Files.newInputStream(CudaBackend.library().orElseThrow()));
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }

    private static String hash(InputStream library) {
      String version = graft.graft_version().getString();
      try (InputStream in = library) {
        if (in == null) {
          return version; // linked by other means: the version is what there is to compare
        }
        MessageDigest digest = Durable.sha256();
        byte[] buffer = new byte[1 << 16];
        for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
          digest.update(buffer, 0, n);
        }
        return version + " " + HexFormat.of().formatHex(digest.digest());
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  /** Value by name. */
  Map<String, String> values() {
    return Collections.unmodifiableMap(values);
  }

  ObjectNode toJson() {
    ObjectNode json = Json.object();
    values.forEach(json::put);
    return json;
  }

  /**
   * Refuses a resume that could not be exact.
   *
   * @param file where {@code saved} was read
   * @throws InvalidInputException naming everything that differs
   */
  void check(Path file, JsonNode saved) {
    List<String> differences = new ArrayList<>();
    values.forEach(
        (name, value) -> {
          String before = saved.path(name).isTextual() ? saved.path(name).asText() : null;
          if (!value.equals(before)) {
            differences.add(
                String.format("%s was %s, is %s", name, shortened(before), shortened(value)));
          }
        });
    saved
        .fieldNames()
        .forEachRemaining(
            name -> {
              if (!values.containsKey(name)) {
                differences.add(name + " is not known to this version");
              }
            });
    if (!differences.isEmpty()) {
      throw InvalidInputException.of(
          file,
          "this run cannot be resumed exactly, because "
              + String.join("; ", differences)
              + ". Give the same settings as before, or start a new run from the checkpoint's model");
    }
  }

  private static String shortened(String value) {
    return value == null || value.length() <= 200 ? value : value.substring(0, 200) + "…";
  }
}
