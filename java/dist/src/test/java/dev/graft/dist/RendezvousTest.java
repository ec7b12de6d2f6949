package dev.graft.dist;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RendezvousTest {
  private static final Map<String, String> TORCHRUN =
      Map.of("RANK", "2", "WORLD_SIZE", "4", "MASTER_ADDR", "node7", "MASTER_PORT", "29500");

  @Test
  void environment_isThatOfTorchrun() {
    assertThat(Rendezvous.fromEnvironment(TORCHRUN))
        .isEqualTo(new Rendezvous(2, 4, "node7", 29500, Rendezvous.DEFAULT_TIMEOUT));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "RANK | | environment variable RANK is not set",
        "RANK | 4 | rank: expected 0 to 3, got 4",
        "RANK | -1 | rank: expected 0 to 3, got -1",
        "WORLD_SIZE | two | environment variable WORLD_SIZE: expected a number, got two",
        "WORLD_SIZE | 0 | size: expected at least 1, got 0",
        "MASTER_ADDR | | environment variable MASTER_ADDR is not set",
        "MASTER_PORT | 65536 | port: expected 1 to 65535, got 65536",
        "MASTER_PORT | 99999999999 | MASTER_PORT: expected a number, got 99999999999",
      })
  void wrongVariable_isNamed(String name, String value, String message) {
    Map<String, String> environment = new HashMap<>(TORCHRUN);
    environment.put(name, value);
    assertThatThrownBy(() -> Rendezvous.fromEnvironment(environment))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("rendezvous: ")
        .hasMessageContaining(message);
  }
}
