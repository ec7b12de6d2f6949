package dev.graft.peers;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * A JVM library as a peer of {@code graft bench kernels}: the protocol of torch_peers.py, a JSON object
 * a line each way.
 *
 * <pre>Main djl|nd4j</pre>
 */
public final class Main {
  private final Library library;
  private Runnable prepared;

  private Main(Library library) {
    this.library = library;
  }

  /** Answers until the input ends. */
  public static void main(String[] arguments) throws Exception {
    // Libraries may print; only answers go to the caller.
    PrintStream answers = System.out;
    System.setOut(System.err);
    String name = "dev.graft.peers." + arguments[0] + ".Cases";
    Main main = new Main((Library) Class.forName(name).getDeclaredConstructor().newInstance());
    main.serve(answers);
  }

  private void serve(PrintStream answers) throws IOException {
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      JsonObject answer;
      try {
        answer = answer(JsonParser.parseString(line).getAsJsonObject());
      } catch (RuntimeException e) { // the caller decides what a failed case means
        answer = new JsonObject();
        answer.addProperty("error", e.getMessage() == null ? e.toString() : e.getMessage());
      }
      answers.println(answer);
      answers.flush();
    }
  }

  private JsonObject answer(JsonObject request) {
    JsonObject answer = new JsonObject();
    if (request.has("prepare")) {
      prepared = null;
      library.release();
      JsonObject c = request.getAsJsonObject("prepare");
      if (!c.get("dtype").getAsString().equals("fp32")) {
        throw new UnsupportedOperationException("only fp32 is timed");
      }
      prepared = library.prepare(c);
      answer.addProperty("ready", true);
    } else if (request.has("run")) {
      answer.add("seconds", run(request.get("run").getAsInt()));
    } else {
      answer.addProperty("name", library.version());
    }
    return answer;
  }

  private JsonArray run(int count) {
    if (prepared == null) {
      throw new IllegalStateException("run before prepare");
    }
    prepared.run(); // wakes threads and caches, as Graft's turn does
    JsonArray seconds = new JsonArray();
    for (int i = 0; i < count; i++) {
      long begin = System.nanoTime();
      prepared.run();
      seconds.add((System.nanoTime() - begin) * 1e-9);
    }
    return seconds;
  }
}
