package dev.graft.runtime;

/**
 * Whether a product is run with its {@link Epilogue} or the same is done by calls one after the
 * other, and how long both took.
 *
 * @param fused the one with the epilogue
 * @param fusedMicroseconds infinite if the library refuses it
 */
public record FusionChoice(boolean fused, double fusedMicroseconds, double separateMicroseconds)
    implements AlgorithmCache.Entry {
  private static final String FUSED = "fused";
  private static final String SEPARATE = "separate";

  /** The faster of the two. */
  public static FusionChoice of(double fusedMicroseconds, double separateMicroseconds) {
    return new FusionChoice(
        fusedMicroseconds < separateMicroseconds, fusedMicroseconds, separateMicroseconds);
  }

  /** The choice and both times, as {@link #parse} reads them. */
  @Override
  public String text() {
    return (fused ? FUSED : SEPARATE) + " " + fusedMicroseconds + " " + separateMicroseconds;
  }

  static boolean is(String text) {
    return text.startsWith(FUSED + " ") || text.startsWith(SEPARATE + " ");
  }

  /**
   * @throws IllegalArgumentException if it is no choice
   */
  static FusionChoice parse(String text) {
    String[] fields = text.split(" ");
    if (fields.length != 3 || !is(text)) {
      throw new IllegalArgumentException("choice: cannot be " + text);
    }
    return new FusionChoice(
        fields[0].equals(FUSED), Double.parseDouble(fields[1]), Double.parseDouble(fields[2]));
  }
}
