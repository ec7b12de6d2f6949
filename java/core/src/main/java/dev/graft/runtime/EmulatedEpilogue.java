package dev.graft.runtime;

import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_activation_args;
import dev.graft.bindings.graft_cast_args;
import dev.graft.bindings.graft_column_sum_args;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A product and its {@link Epilogue} on the host, by the CPU's kernels: as on the card the product
 * stays in fp32 until all is done, and is then rounded once.
 */
final class EmulatedEpilogue implements Gemm.Call {
  private final Device host;
  private final Arena arena;
  private final List<Pointer> arguments = new ArrayList<>();
  private final List<Runnable> steps = new ArrayList<>();
  private final Gemm.Call call;
  private boolean closed;

  EmulatedEpilogue(Device host, Gemm products, Gemm.Product product) {
    this.host = host;
    this.arena = new Arena(host, "emulated epilogue");
    Epilogue epilogue = product.epilogue();
    boolean gelu = isGelu(epilogue);
    Tensor c = product.c().tensor();
    Tensor wide = gelu ? arena.zeros("product", DType.FLOAT32, product.m(), product.n()) : null;
    call =
        products.prepare(
            new Gemm.Product(
                product.a(),
                product.transposeA(),
                product.b(),
                product.transposeB(),
                gelu ? Gemm.Columns.of(wide) : product.c(),
                product.accumulate(),
                product.scale(),
                Epilogue.bias(epilogue.bias())));
    steps.add(call::run);
    switch (epilogue.kind()) {
      case GELU -> gelu(wide, epilogue.before(), c);
      case GELU_GRADIENT -> geluGradient(wide, epilogue.before(), epilogue.sums(), c);
      case SUMS_OF_A -> sums(product.a().tensor(), epilogue.sums());
      case SUMS_OF_B -> sums(product.b().tensor(), epilogue.sums());
      default -> throw new IllegalArgumentException("epilogue: " + epilogue.kind());
    }
  }

  private static boolean isGelu(Epilogue epilogue) {
    return epilogue.kind() == Epilogue.Kind.GELU || epilogue.kind() == Epilogue.Kind.GELU_GRADIENT;
  }

  private void gelu(Tensor wide, Tensor before, Tensor c) {
    if (before != null) {
      cast(wide, before);
    }
    graft_activation_args args = activation(wide);
    args.y(wide.pointer());
    add(() -> graft.graft_activation_forward(host.context(), args));
    cast(wide, c);
  }

  private void geluGradient(Tensor wide, Tensor before, Tensor sums, Tensor c) {
    Tensor x = arena.zeros("before", DType.FLOAT32, wide.size(0), wide.size(1));
    cast(before, x);
    graft_activation_args args = activation(x);
    args.dy(wide.pointer()).dx(wide.pointer());
    Tensor total = sums == null ? null : zeroedEachTime(sums.count());
    if (total != null) {
      args.dbias(Address.floats(total.address()));
      long bytes = workspace(out -> graft.graft_activation_workspace(host.context(), args, out));
      args.workspace(space(bytes)).workspace_bytes(bytes);
    }
    add(() -> graft.graft_activation_backward(host.context(), args));
    cast(wide, c);
    if (total != null) {
      cast(total, sums);
    }
  }

  /** Sums of the columns of a stored matrix. */
  private void sums(Tensor of, Tensor sums) {
    Tensor total = zeroedEachTime(sums.count());
    graft_column_sum_args args = zeroed(new graft_column_sum_args());
    args.struct_size(args.sizeof())
        .x(of.pointer())
        .out(Address.floats(total.address()))
        .rows(of.size(0))
        .channels(of.size(1))
        .dtype(of.dtype().code());
    long bytes = workspace(out -> graft.graft_column_sum_workspace(host.context(), args, out));
    args.workspace(space(bytes)).workspace_bytes(bytes);
    add(() -> graft.graft_column_sum(host.context(), args));
    cast(total, sums);
  }

  private Tensor zeroedEachTime(long count) {
    Tensor total = arena.zeros("sums", DType.FLOAT32, count);
    Pointer at = total.pointer();
    add(() -> graft.graft_memset(host.context(), at, 0, total.byteSize()));
    return total;
  }

  private graft_activation_args activation(Tensor x) {
    graft_activation_args args = zeroed(new graft_activation_args());
    return args.struct_size(args.sizeof())
        .x(x.pointer())
        .rows(x.size(0))
        .channels(x.size(1))
        .activation(graft.GRAFT_GELU_TANH)
        .dtype(x.dtype().code());
  }

  private void cast(Tensor from, Tensor to) {
    graft_cast_args args = zeroed(new graft_cast_args());
    args.struct_size(args.sizeof())
        .from(from.pointer())
        .to(to.pointer())
        .count(from.count())
        .from_dtype(from.dtype().code())
        .to_dtype(to.dtype().code());
    add(() -> graft.graft_cast(host.context(), args));
  }

  private <A extends Pointer> A zeroed(A args) {
    Pointer.memset(args, 0, args.sizeof());
    arguments.add(args);
    return args;
  }

  private interface Query {
    int bytes(LongPointer out);
  }

  private static long workspace(Query query) {
    try (LongPointer bytes = new LongPointer(1)) {
      bytes.put(0);
      Device.check(query.bytes(bytes));
      return bytes.get();
    }
  }

  private Pointer space(long bytes) {
    return bytes == 0 ? null : Address.of(arena.allocate(bytes, "workspace"));
  }

  private interface Step {
    int run();
  }

  private void add(Step step) {
    steps.add(() -> Device.check(step.run()));
  }

  @Override
  public void run() {
    steps.forEach(Runnable::run);
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      call.close();
      arguments.forEach(Pointer::close);
      arena.close();
    }
  }
}
