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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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
            } else if (line.contains("lose")) {
              System.out.println("{\\"error\\": \\"CUDA error\\", \\"lost\\": true}");
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

  /** One whose PyTorch is for the CPU. */
  private static final String PYTHON =
      """
      #!/bin/sh
      case $2 in
        *torch.cuda.is_available*) exit 1 ;;
        *"import"*torch*) exit 0 ;;
      esac
      exit 2
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

  /** A case that takes the process or its card with it does not take the others. */
  @ParameterizedTest
  @ValueSource(strings = {"leave", "lose"})
  void oneThatEnded_isReplaced(String end) throws IOException {
    try (PyTorchPeer peer = peer()) {
      assertThatThrownBy(() -> peer.prepare(Json.object().put("op", end)))
          .isInstanceOf(RuntimeException.class);
      peer.prepare(Json.object().put("op", "gemm"));
      assertThat(peer.run(2)).containsExactly(0.001, 0.001);
    }
  }

  /** Nothing is measured beside a card by a PyTorch that has none. */
  @Test
  void whatAPythonHas_isAsked() throws IOException {
    assertThat(PyTorchPeer.isThere("no-such-python", "cpu")).isFalse();
    Path program = Files.writeString(folder.resolve("python"), PYTHON);
    assertThat(program.toFile().setExecutable(true)).isTrue();
    assertThat(PyTorchPeer.isThere(program.toString(), "cpu")).isTrue();
    assertThat(PyTorchPeer.isThere(program.toString(), "cuda")).isFalse();
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
