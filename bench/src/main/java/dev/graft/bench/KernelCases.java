package dev.graft.bench;

import dev.graft.bindings.global.graft;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/** The shapes that are timed: those of GPT-2 124M and BERT-base, per op and dtype. */
public final class KernelCases {
  private static final int[] DTYPES = {graft.GRAFT_FLOAT32, graft.GRAFT_BFLOAT16};

  private KernelCases() {}

  /**
   * Suppliers, so that only one case holds memory at a time.
   *
   * @param full also the long and the small shapes
   */
  public static List<Supplier<KernelCase>> all(Device device, boolean full) {
    List<Supplier<KernelCase>> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      attention(cases, device, dtype, 8, 128, false);
      attention(cases, device, dtype, 4, 512, true);
      attention(cases, device, dtype, 2, 1024, true);
      if (full) {
        attention(cases, device, dtype, 16, 64, false);
        attention(cases, device, dtype, 4, 512, false);
        attention(cases, device, dtype, 1, 2048, true);
        attention(cases, device, dtype, 1, 4096, true);
      }
      cases.add(() -> new DecodeCase(device, dtype, new int[] {1000}, 12, 64, 1024));
      for (boolean backward : new boolean[] {false, true}) {
        cases.add(
            () -> new ActivationCase(device, dtype, 2048, 3072, graft.GRAFT_GELU_TANH, backward));
        cases.add(
            () -> new ActivationCase(device, dtype, 2048, 3072, graft.GRAFT_GELU_ERF, backward));
        cases.add(() -> new AddNormCase(device, dtype, 4096, 768, 0, 0, backward));
      }
      cases.add(() -> new ClassifierCase(device, dtype, 512, 50257, 0));
      cases.add(() -> new ClassifierCase(device, dtype, 512, 30522, 0));
      if (full) {
        cases.add(() -> new LossCase(device, dtype, LossCase.Kind.SEGMENTS, 16, 384));
        cases.add(() -> new LossCase(device, dtype, LossCase.Kind.BINARY, 32, 1000));
        cases.add(() -> new LossCase(device, dtype, LossCase.Kind.SQUARED, 32, 1));
      }
      cases.add(() -> new EmbeddingCase(device, dtype, 4096, 768, 30522, 512));
      cases.add(() -> new AdamWCase(device, dtype, transformerSizes(), 1, true));
      cases.add(() -> new GemmCase(device, dtype, 1024, 2304, 768));
      cases.add(() -> new GemmCase(device, dtype, 1024, 768, 3072));
    }
    return cases;
  }

  private static void attention(
      List<Supplier<KernelCase>> cases,
      Device device,
      int dtype,
      int batch,
      int tokens,
      boolean causal) {
    int[] lengths = new int[batch];
    Arrays.fill(lengths, tokens);
    for (boolean backward : new boolean[] {false, true}) {
      cases.add(
          () -> new AttentionCase(device, dtype, lengths, lengths, 12, 64, causal, 0, backward));
    }
  }

  /** Two GPT-2 blocks and a small embedding: 21M parameters in tensors of real sizes. */
  private static int[] transformerSizes() {
    int c = 768;
    int[] block = {c, c, 3 * c * c, 3 * c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c};
    int[] sizes = new int[2 * block.length + 1];
    sizes[0] = 9000 * c;
    System.arraycopy(block, 0, sizes, 1, block.length);
    System.arraycopy(block, 0, sizes, 1 + block.length, block.length);
    return sizes;
  }
}
