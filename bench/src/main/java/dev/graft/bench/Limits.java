package dev.graft.bench;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_cast_args;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Gemm;
import dev.graft.runtime.Tensor;
import org.bytedeco.javacpp.Pointer;

/**
 * What this machine can do, measured in the same run: bytes a second of a copy far larger than the
 * caches (read + write counted), and multiply-adds of the vendor's matrix product.
 *
 * @param bytesPerSecond copy bandwidth, read plus write
 * @param flopsFp32 oneDNN fp32 product of 1,536³, operations a second
 * @param flopsBf16 the same for bf16 operands
 */
public record Limits(double bytesPerSecond, double flopsFp32, double flopsBf16) {

  /** Measures; takes about a second. */
  public static Limits measure(Device device) {
    return new Limits(
        copy(device), product(device, DType.FLOAT32), product(device, DType.BFLOAT16));
  }

  private static double copy(Device device) {
    long count = 48L << 20;
    try (Arena arena = new Arena(device, "copy limit");
        graft_cast_args args = new graft_cast_args()) {
      Tensor from = arena.zeros("from", DType.FLOAT32, count);
      Tensor to = arena.zeros("to", DType.FLOAT32, count);
      Pointer.memset(args, 0, args.sizeof());
      args.struct_size(args.sizeof())
          .from(from.pointer())
          .to(to.pointer())
          .count(count)
          .from_dtype(graft.GRAFT_FLOAT32)
          .to_dtype(graft.GRAFT_FLOAT32);
      double seconds =
          Clock.median(9, () -> Status.check(graft.graft_cast(device.context(), args)));
      return 8.0 * count / seconds;
    }
  }

  private static double product(Device device, DType dtype) {
    int n = 1536;
    try (Arena arena = new Arena(device, "product limit")) {
      Tensor a = arena.zeros("a", dtype, n, n);
      Tensor b = arena.zeros("b", dtype, n, n);
      Tensor c = arena.zeros("c", dtype, n, n);
      try (Gemm.Call call = device.gemm().prepare(a, false, b, true, c, false, null)) {
        return 2.0 * n * n * n / Clock.median(7, call::run);
      }
    }
  }
}
