package dev.graft.verify;

import dev.graft.program.Ops;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Gemm;
import dev.graft.runtime.Tensor;

/**
 * What a device can do, measured in the same run: bytes a second of a copy far larger than its
 * caches (read + write counted), and multiply-adds of its vendor's matrix product on random data.
 *
 * @param bytesPerSecond copy bandwidth, read plus write
 * @param flopsFp32 fp32 product, operations a second
 * @param flopsBf16 the same for bf16 operands
 */
public record DeviceLimits(double bytesPerSecond, double flopsFp32, double flopsBf16) {
  private static final int COPIES = 9;
  private static final int PRODUCTS = 7;

  /**
   * How much is copied and multiplied.
   *
   * @param floats of a copy
   * @param side of the square matrices of a product
   */
  public record Size(long floats, int side) {
    /** A processor: 200 MB and 1,536³, about a second in all. */
    public static final Size CPU = new Size(48L << 20, 1536);

    /** A card: 1 GB and 8,192³. */
    public static final Size CARD = new Size(256L << 20, 8192);

    /** The emulated card: to go through the motions. */
    public static final Size SMALL = new Size(1 << 16, 64);
  }

  /** Measures: the medians of some runs. */
  public static DeviceLimits measure(Device device, Size size) {
    return new DeviceLimits(
        copy(device, size.floats),
        product(device, size.side, DType.FLOAT32),
        product(device, size.side, DType.BFLOAT16));
  }

  /** The limit of products of a dtype. */
  public double flops(DType dtype) {
    return dtype == DType.BFLOAT16 ? flopsBf16 : flopsFp32;
  }

  private static double copy(Device device, long count) {
    try (Arena arena = new Arena(device, "copy limit")) {
      Tensor from = arena.zeros("from", DType.FLOAT32, count);
      Tensor to = arena.zeros("to", DType.FLOAT32, count);
      double seconds =
          Clock.median(
              COPIES,
              () -> {
                Ops.castNow(device, from, to);
                device.synchronize();
              });
      return 2.0 * from.byteSize() / seconds;
    }
  }

  private static double product(Device device, int n, DType dtype) {
    try (Arena arena = new Arena(device, "product limit")) {
      Tensor a = arena.zeros("a", dtype, n, n);
      Tensor b = arena.zeros("b", dtype, n, n);
      Tensor c = arena.zeros("c", dtype, n, n);
      Ops.fillNormal(device, a, 1, 0, 0, 1);
      Ops.fillNormal(device, b, 2, 0, 0, 1);
      try (Gemm.Call call = device.gemm().prepare(a, false, b, true, c, false, null)) {
        double seconds =
            Clock.median(
                PRODUCTS,
                () -> {
                  call.run();
                  device.synchronize();
                });
        return 2.0 * n * n * n / seconds;
      }
    }
  }
}
