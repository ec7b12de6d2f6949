package dev.graft.verify;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Official PyTorch in a Python process beside this one (bench/peers/torch_peers.py), which times a
 * case when asked, so that both sides take turns in one run. It runs as a user would run it: what
 * the launcher set for this process's threads is taken out of its environment.
 */
public final class PyTorchPeer implements AutoCloseable {
  private static final String SCRIPT = "torch_peers.py";
  private static final String SPIN = "GOMP_SPINCOUNT";
  private static final long GOODBYE_SECONDS = 10;

  private final String program;
  private final List<String> command;
  private Process process;
  private BufferedWriter requests;
  private BufferedReader answers;
  private boolean lost;

  /** A peer that speaks the script's protocol, by its command. */
  public PyTorchPeer(List<String> command) {
    this.command = List.copyOf(command);
    program = command.get(0);
    begin();
  }

  private void begin() {
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().remove(SPIN);
    try {
      process = builder.start();
    } catch (IOException e) {
      throw new InvalidInputException("--pytorch: cannot run " + program, e);
    }
    requests =
        new BufferedWriter(
            new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8));
    answers =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  /**
   * Starts PyTorch.
   *
   * @param python a Python with the packages of bench/peers/requirements.txt
   * @param device {@code cpu} or {@code cuda}
   * @param threads of PyTorch's kernels on the CPU; 0 for its own choice
   */
  public static PyTorchPeer start(String python, String device, int threads) {
    try (InputStream in = PyTorchPeer.class.getResourceAsStream(SCRIPT)) {
      String script = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      return new PyTorchPeer(
          List.of(
              python, "-c", script, "--device", device, "--threads", Integer.toString(threads)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Whether a Python has what the peer needs.
   *
   * @param device {@code cpu} or {@code cuda}, which PyTorch must see
   */
  public static boolean isThere(String python, String device) {
    String sees = device.equals("cuda") ? "torch.cuda.is_available()" : "True";
    try {
      return new ProcessBuilder(
                  python, "-c", "import sys, torch, transformers; sys.exit(not " + sees + ")")
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor()
          == 0;
    } catch (IOException e) {
      return false; // no such program
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** Versions, threads and device: {@code torch}, {@code threads}, {@code device} … */
  public JsonNode info() {
    return ask(Json.object().put("info", true));
  }

  /** Builds a case and runs it once; it replaces the one before. One that has ended is replaced. */
  public void prepare(ObjectNode peerCase) {
    if (lost) {
      close();
      begin();
      lost = false;
    }
    ObjectNode request = Json.object();
    request.set("prepare", peerCase);
    ask(request);
  }

  /** Seconds of each of {@code runs} runs of the case, behind one that is not timed. */
  public double[] run(int runs) {
    JsonNode seconds = ask(Json.object().put("run", runs)).path("seconds");
    if (seconds.size() != runs) {
      throw new IllegalStateException(program + ": expected " + runs + " times, got " + seconds);
    }
    double[] values = new double[runs];
    for (int i = 0; i < runs; i++) {
      values[i] = seconds.get(i).asDouble();
    }
    return values;
  }

  private JsonNode ask(ObjectNode request) {
    String line;
    try {
      requests.write(Json.line(request));
      requests.newLine();
      requests.flush();
      line = answers.readLine();
    } catch (IOException e) {
      lost = true;
      throw new InvalidInputException("--pytorch: " + program + " ended; it says why above", e);
    }
    if (line == null) {
      lost = true;
      throw new InvalidInputException("--pytorch: " + program + " ended; it says why above");
    }
    JsonNode answer = Json.parseObject(Path.of(program), line.getBytes(StandardCharsets.UTF_8));
    if (answer.has("error")) {
      lost = answer.path("lost").asBoolean();
      throw new IllegalStateException(
          program + ": " + answer.get("error").asText() + ", asked " + Json.line(request));
    }
    return answer;
  }

  /** Ends the process. */
  @Override
  public void close() {
    try {
      requests.close();
    } catch (IOException e) {
      process.destroy(); // it reads no more
    }
    try {
      if (!process.waitFor(GOODBYE_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
