package dev.graft.dist;

import java.time.Duration;
import java.util.Map;
import java.util.Objects;

/**
 * Where the processes of a run meet, and as which of them this one comes. The traffic is neither
 * encrypted nor authenticated: meet in a trusted network.
 *
 * @param rank this process, 0 to {@code size} − 1; rank 0 listens at the address
 * @param size number of processes
 * @param host name or address of rank 0
 * @param port free TCP port of rank 0
 * @param timeout longest wait for the others: to meet, and in each collective. It must outlast what
 *     one process may do alone: rank 0 writes checkpoints while the others wait
 */
public record Rendezvous(int rank, int size, String host, int port, Duration timeout) {
  /** Long enough for a large checkpoint on a slow disk. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofMinutes(10);

  public Rendezvous {
    Objects.requireNonNull(host, "host");
    Objects.requireNonNull(timeout, "timeout");
    require(size >= 1, "size: expected at least 1, got " + size);
    require(rank >= 0 && rank < size, "rank: expected 0 to " + (size - 1) + ", got " + rank);
    require(!host.isBlank(), "host: expected a name or address, got none");
    require(port >= 1 && port <= 65535, "port: expected 1 to 65535, got " + port);
    require(timeout.toMillis() >= 1, "timeout: expected at least 1 ms, got " + timeout);
  }

  private static void require(boolean right, String what) {
    if (!right) {
      throw new IllegalArgumentException("rendezvous: " + what);
    }
  }

  /**
   * From the variables torchrun and others set: {@code RANK}, {@code WORLD_SIZE}, {@code
   * MASTER_ADDR} and {@code MASTER_PORT}.
   *
   * @throws IllegalArgumentException naming the variable that is missing or wrong
   */
  public static Rendezvous fromEnvironment() {
    return fromEnvironment(System.getenv());
  }

  static Rendezvous fromEnvironment(Map<String, String> environment) {
    return new Rendezvous(
        number(environment, "RANK"),
        number(environment, "WORLD_SIZE"),
        text(environment, "MASTER_ADDR"),
        number(environment, "MASTER_PORT"),
        DEFAULT_TIMEOUT);
  }

  private static String text(Map<String, String> environment, String name) {
    String value = environment.get(name);
    require(value != null && !value.isBlank(), "environment variable " + name + " is not set");
    return value.strip();
  }

  private static int number(Map<String, String> environment, String name) {
    String value = text(environment, name);
    try {
      return Integer.parseInt(value);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "rendezvous: environment variable " + name + ": expected a number, got " + value, e);
    }
  }

  /** The same with another timeout. */
  public Rendezvous withTimeout(Duration value) {
    return new Rendezvous(rank, size, host, port, value);
  }
}
