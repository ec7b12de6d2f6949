package dev.graft.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The protocol of bench/peers/torch_peers.py, spoken to a program that needs no Python. */
class PyTorchPeerTest {
  /** Answers as the script does; each run takes a millisecond; keeps what it was asked. */
  private static final String PROGRAM =
      """
      import java.io.*;
      import java.nio.file.*;

      public class Peer {
        public static void main(String[] arguments) throws IOException {
          BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
          for (String line = in.readLine(); line != null; line = in.readLine()) {
            Files.writeString(
                Path.of(arguments[0]),
                line + "\\n",
                StandardOpenOption.CREATE,
                StandardOpenOption.APPEND);
            if (line.contains("nothing")) {
              System.out.println("{\\"error\\": \\"ValueError: op: expected one of\\"}");
            } else if (line.contains("leave")) {
              return;
            } else if (line.startsWith("{\\"run\\":")) {
              int runs = Integer.parseInt(line.replaceAll("[^0-9]", ""));
              System.out.println("{\\"seconds\\": [" + "0.001,".repeat(runs - 1) + "0.001]}");
            } else {
              System.out.println("{\\"ready\\": true, \\"torch\\": \\"2\\"}");
            }
          }
        }
      }
      """;

  @TempDir Path folder;

  private PyTorchPeer peer() throws IOException {
    Path source = folder.resolve("Peer.java");
    Files.writeString(source, PROGRAM);
    return new PyTorchPeer(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            source.toString(),
            folder.resolve("asked").toString()));
  }

  @Test
  void aCaseItRefuses_isNamed_andItGoesOn() throws IOException {
    try (PyTorchPeer peer = peer()) {
      assertThatThrownBy(() -> peer.prepare(Json.object().put("op", "nothing")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("expected one of")
          .hasMessageContaining("\"op\":\"nothing\"");
      assertThat(peer.run(3)).containsExactly(0.001, 0.001, 0.001);
    }
  }

  @Test
  void anEndWithoutAnswer_isSaid() throws IOException {
    try (PyTorchPeer peer = peer()) {
      assertThatThrownBy(() -> peer.prepare(Json.object().put("op", "leave")))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("--pytorch")
          .hasMessageContaining("ended");
    }
  }

  @Test
  void aProgramThatIsNotThere_isSaid() {
    assertThatThrownBy(() -> PyTorchPeer.start("no-such-python", "cpu", 1))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("cannot run no-such-python");
  }

  /** The script travels in the jar. */
  @Test
  void theScript_isOnTheClassPath() {
    assertThat(PyTorchPeer.class.getResource("torch_peers.py")).isNotNull();
  }
}
