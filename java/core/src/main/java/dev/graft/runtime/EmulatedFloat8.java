package dev.graft.runtime;

import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_cast_args;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A product of 8-bit floats on the host: its operands' values in fp32, which holds them and their
 * products exactly, multiplied by oneDNN, and one rounding.
 */
final class EmulatedFloat8 implements Gemm.Call {
  /** An operand as stored, and its values. */
  private static final class Operand {
    final Tensor stored;
    final Tensor scale;
    final Tensor values;
    final byte[] codes;
    final float[] floats;
    final float[] table;

    Operand(Gemm.Columns from, Arena arena) {
      stored = from.tensor();
      scale = from.scale();
      values = arena.zeros("values", DType.FLOAT32, stored.shape());
      codes = new byte[Math.toIntExact(stored.count())];
      floats = new float[codes.length];
      table = Float8.values(stored.dtype());
    }

    void read() {
      float factor = Address.floats(scale.address()).get();
      try (BytePointer bytes = new BytePointer(stored.pointer())) {
        bytes.get(codes);
      }
      for (int i = 0; i < codes.length; i++) {
        floats[i] = table[codes[i] & 0xFF] * factor;
      }
      values.put(0, floats);
    }
  }

  private final Device host;
  private final Arena arena;
  private final List<Operand> operands = new ArrayList<>();
  private final List<graft_cast_args> before = new ArrayList<>();
  private final Gemm.Call call;
  private final graft_cast_args rounding; // null where the result is fp32
  private boolean closed;

  EmulatedFloat8(Device host, Gemm products, Gemm.Product product) {
    this.host = host;
    this.arena = new Arena(host, "emulated product of 8-bit floats");
    operands.add(new Operand(product.a(), arena));
    operands.add(new Operand(product.b(), arena));
    Gemm.Columns c = product.c();
    boolean rounds = c.dtype() != DType.FLOAT32;
    if (rounds && !c.whole()) {
      throw new IllegalArgumentException("gemm: c: expected a whole matrix, got " + c);
    }
    Tensor wide = rounds ? arena.zeros("result", DType.FLOAT32, c.tensor().shape()) : c.tensor();
    call =
        products.prepare(
            new Gemm.Product(
                Gemm.Columns.of(operands.get(0).values),
                product.transposeA(),
                Gemm.Columns.of(operands.get(1).values),
                product.transposeB(),
                rounds ? Gemm.Columns.of(wide) : c,
                product.accumulate(),
                product.scale(),
                Epilogue.bias(widened(product.epilogue().bias()))));
    rounding = rounds ? cast(wide, c.tensor()) : null;
    if (rounds && product.accumulate()) {
      before.add(cast(c.tensor(), wide));
    }
  }

  /** The product below is of fp32 operands, which have an fp32 bias. */
  private Tensor widened(Tensor bias) {
    if (bias == null || bias.dtype() == DType.FLOAT32) {
      return bias;
    }
    Tensor wide = arena.zeros("bias", DType.FLOAT32, bias.count());
    before.add(cast(bias, wide));
    return wide;
  }

  private static graft_cast_args cast(Tensor from, Tensor to) {
    graft_cast_args args = new graft_cast_args();
    Pointer.memset(args, 0, args.sizeof());
    return args.struct_size(args.sizeof())
        .from(from.pointer())
        .to(to.pointer())
        .count(from.count())
        .from_dtype(from.dtype().code())
        .to_dtype(to.dtype().code());
  }

  @Override
  public void run() {
    operands.forEach(Operand::read);
    before.forEach(args -> Device.check(graft.graft_cast(host.context(), args)));
    call.run();
    if (rounding != null) {
      Device.check(graft.graft_cast(host.context(), rounding));
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      call.close();
      before.forEach(Pointer::close);
      if (rounding != null) {
        rounding.close();
      }
      arena.close();
    }
  }
}
