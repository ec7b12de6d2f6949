package dev.graft.runtime;

import static org.bytedeco.dnnl.global.dnnl.*;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_cast_args;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.dnnl_version_t;
import org.bytedeco.javacpp.Pointer;

/**
 * Products by oneDNN's matmul. A primitive is made once for its shape, layout and dtypes; a call
 * binds it to memory. On processors without bfloat16 products (before AVX512-BF16, where oneDNN's
 * matmul has none) bf16 operands are widened to fp32 in scratch and the result is rounded once,
 * which is what the hardware would do: bf16 products summed in fp32.
 */
final class OneDnnGemm implements Gemm {
  private record Key(
      long m,
      long n,
      long k,
      boolean transposeA,
      boolean transposeB,
      long strideA,
      long strideB,
      long strideC,
      DType operands,
      DType result,
      DType bias,
      boolean accumulate,
      float scale) {}

  private static final class Primitive {
    final Key key;
    dnnl_primitive primitive;
    dnnl_memory_desc a;
    dnnl_memory_desc b;
    dnnl_memory_desc c;
    dnnl_memory_desc bias;
    dnnl_memory_desc scratchpad;
    long scratchpadBytes;

    Primitive(Key key) {
      this.key = key;
    }
  }

  private final Device device;
  private final dnnl_engine engine = new dnnl_engine();
  private final dnnl_stream stream = new dnnl_stream();
  private final Map<Key, Primitive> primitives = new HashMap<>();
  private final List<Bound> bound = new ArrayList<>();
  private final boolean nativeBfloat16;
  private final String description;
  private Arena scratch;
  private long scratchAddress;
  private long scratchBytes;

  OneDnnGemm(Device device) {
    this.device = device;
    check(dnnl_engine_create(engine, dnnl_cpu, 0), "engine");
    check(dnnl_stream_create(stream, engine, dnnl_stream_default_flags), "stream");
    nativeBfloat16 =
        graft.graft_cpu_isa() >= graft.GRAFT_ISA_AVX512_BF16 && supports(DType.BFLOAT16);
    dnnl_version_t version = dnnl_version();
    description =
        String.format(
            "oneDNN %d.%d.%d%s",
            version.major(),
            version.minor(),
            version.patch(),
            nativeBfloat16 ? "" : ", bf16 products in fp32");
  }

  private boolean supports(DType dtype) {
    try {
      create(new Key(16, 16, 16, false, false, 16, 16, 16, dtype, dtype, null, false, 1));
      return true;
    } catch (IllegalStateException e) {
      return false;
    }
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public Call prepare(Product product) {
    product.requireFits();
    if (product.isFloat8()) {
      throw new UnsupportedOperationException(description + " has no products of 8-bit floats");
    }
    if (!product.epilogue().isPlain()) {
      throw new UnsupportedEpilogueException(
          description + " has no product with " + product.epilogue().text());
    }
    Bound call = new Bound(product, product.m(), product.n(), product.k());
    bound.add(call);
    return call;
  }

  private static int code(DType dtype) {
    return dtype == DType.BFLOAT16 ? dnnl_bf16 : dnnl_f32;
  }

  private Primitive primitive(Key key) {
    return primitives.computeIfAbsent(key, this::create);
  }

  private Primitive create(Key key) {
    Primitive p = new Primitive(key);
    p.a = matrix(key.m, key.k, key.operands, key.transposeA, key.strideA);
    p.b = matrix(key.k, key.n, key.operands, key.transposeB, key.strideB);
    p.c = matrix(key.m, key.n, key.result, false, key.strideC);
    if (key.bias != null) {
      p.bias = matrix(1, key.n, key.bias, false, key.n);
    }
    dnnl_primitive_attr attr = new dnnl_primitive_attr();
    check(dnnl_primitive_attr_create(attr), "attributes");
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad");
    if (key.accumulate || key.scale != 1) {
      dnnl_post_ops ops = new dnnl_post_ops();
      check(dnnl_post_ops_create(ops), "post-ops");
      if (key.scale != 1) {
        check(dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_linear, key.scale, 0), "scale");
      }
      if (key.accumulate) {
        check(dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef), "sum");
      }
      check(dnnl_primitive_attr_set_post_ops(attr, ops), "post-ops");
      dnnl_post_ops_destroy(ops);
    }
    dnnl_primitive_desc desc = new dnnl_primitive_desc();
    int status = dnnl_matmul_primitive_desc_create(desc, engine, p.a, p.b, p.bias, p.c, attr);
    dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
      throw new IllegalStateException(
          "oneDNN has no matmul for " + key + " (status " + status + ")");
    }
    p.scratchpad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    p.scratchpadBytes = dnnl_memory_desc_get_size(p.scratchpad);
    dnnl_memory_desc copy = new dnnl_memory_desc();
    check(dnnl_memory_desc_clone(copy, p.scratchpad), "scratchpad");
    p.scratchpad = copy;
    p.primitive = new dnnl_primitive();
    check(dnnl_primitive_create(p.primitive, desc), "matmul");
    dnnl_primitive_desc_destroy(desc);
    return p;
  }

  private static dnnl_memory_desc matrix(
      long rows, long columns, DType dtype, boolean transposed, long stride) {
    long[] dims = {rows, columns};
    long[] strides = transposed ? new long[] {1, stride} : new long[] {stride, 1};
    dnnl_memory_desc desc = new dnnl_memory_desc();
    check(
        dnnl_memory_desc_create_with_strides(desc, 2, dims, code(dtype), strides), "matrix layout");
    return desc;
  }

  private static void check(int status, String what) {
    if (status != dnnl_success) {
      throw new IllegalStateException("oneDNN: " + what + " failed with status " + status);
    }
  }

  /** One scratch for all calls of this device: they run one after the other. */
  private void reserve(long bytes) {
    if (bytes <= scratchBytes) {
      return;
    }
    long before = scratchBytes;
    try {
      holdScratch(bytes);
    } catch (RuntimeException e) {
      holdScratch(before);
      throw e;
    }
  }

  private void holdScratch(long bytes) {
    if (scratch != null) {
      scratch.close();
    }
    scratch = new Arena(device, "gemm scratch");
    scratchAddress = scratch.allocate(bytes, "products");
    scratchBytes = bytes;
    for (Bound call : bound) {
      call.placeScratch();
    }
  }

  @Override
  public void close() {
    for (Bound call : List.copyOf(bound)) {
      call.close();
    }
    for (Primitive p : primitives.values()) {
      dnnl_primitive_destroy(p.primitive);
      for (dnnl_memory_desc desc : new dnnl_memory_desc[] {p.a, p.b, p.c, p.bias, p.scratchpad}) {
        if (desc != null) {
          dnnl_memory_desc_destroy(desc);
        }
      }
    }
    primitives.clear();
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    if (scratch != null) {
      scratch.close();
    }
  }

  private static long aligned(long bytes) {
    return (bytes + 255) / 256 * 256;
  }

  private final class Bound implements Call {
    private final Primitive primitive;
    private final List<dnnl_memory> memories = new ArrayList<>();
    private final dnnl_memory scratchpad;
    private final dnnl_exec_arg_t arguments;
    private final int argumentCount;
    private final boolean widen;
    private final List<graft_cast_args> before = new ArrayList<>();
    private final List<graft_cast_args> after = new ArrayList<>();
    private final List<Runnable> placing = new ArrayList<>();
    private boolean closed;

    Bound(Product product, long m, long n, long k) {
      Columns a = product.a();
      Columns b = product.b();
      Columns c = product.c();
      Tensor bias = product.epilogue().bias();
      widen = a.dtype() == DType.BFLOAT16 && !nativeBfloat16;
      DType operands = widen ? DType.FLOAT32 : a.dtype();
      DType result = widen ? DType.FLOAT32 : c.dtype();
      DType biasType = bias == null ? null : widen ? DType.FLOAT32 : bias.dtype();
      primitive =
          primitive(
              new Key(
                  m,
                  n,
                  k,
                  product.transposeA(),
                  product.transposeB(),
                  a.stride(),
                  b.stride(),
                  c.stride(),
                  operands,
                  result,
                  biasType,
                  product.accumulate(),
                  product.scale()));
      dnnl_memory ma = memory(primitive.a, a);
      dnnl_memory mb = memory(primitive.b, b);
      dnnl_memory mc = memory(primitive.c, c);
      dnnl_memory mbias =
          bias == null ? null : memory(primitive.bias, Columns.of(bias.view(0, 1, n)));
      scratchpad = new dnnl_memory();
      check(dnnl_memory_create(scratchpad, primitive.scratchpad, engine, null), "scratchpad");
      memories.add(scratchpad);

      argumentCount = bias == null ? 4 : 5;
      arguments = new dnnl_exec_arg_t(5);
      arguments.position(0).arg(DNNL_ARG_SRC).memory(ma);
      arguments.position(1).arg(DNNL_ARG_WEIGHTS).memory(mb);
      arguments.position(2).arg(DNNL_ARG_DST).memory(mc);
      arguments.position(3).arg(DNNL_ARG_SCRATCHPAD).memory(scratchpad);
      if (bias != null) {
        arguments.position(4).arg(DNNL_ARG_BIAS).memory(mbias);
      }
      arguments.position(0);

      long next = aligned(primitive.scratchpadBytes);
      placing.add(
          () ->
              check(
                  dnnl_memory_set_data_handle(scratchpad, Address.of(scratchAddress)),
                  "scratchpad"));
      if (widen) {
        next = widened(a, ma, next, true, false);
        next = widened(b, mb, next, true, false);
        // Columns beside those written come back as they were: bf16 to fp32 and back is exact.
        next = widened(c, mc, next, product.accumulate() || !c.whole(), true);
        if (bias != null) {
          next = widened(Columns.of(bias.view(0, 1, n)), mbias, next, true, false);
        }
      }
      reserve(next);
      placeScratch();
    }

    private dnnl_memory memory(dnnl_memory_desc desc, Columns matrix) {
      dnnl_memory memory = new dnnl_memory();
      Pointer at = Address.of(matrix.tensor().address() + matrix.first() * matrix.dtype().bytes());
      check(dnnl_memory_create(memory, desc, engine, at), "memory");
      memories.add(memory);
      return memory;
    }

    /** Puts an fp32 copy of a bf16 operand into scratch at {@code offset}; returns what follows. */
    private long widened(Columns matrix, dnnl_memory memory, long offset, boolean in, boolean out) {
      Tensor tensor = matrix.tensor();
      if (tensor.dtype() == DType.FLOAT32) {
        return offset;
      }
      graft_cast_args widenArgs = castArgs(tensor.count(), DType.BFLOAT16, DType.FLOAT32);
      graft_cast_args roundArgs = castArgs(tensor.count(), DType.FLOAT32, DType.BFLOAT16);
      if (in) {
        before.add(widenArgs);
      }
      if (out) {
        after.add(roundArgs);
      }
      placing.add(
          () -> {
            Pointer copy = Address.of(scratchAddress + offset);
            widenArgs.from(tensor.pointer()).to(copy);
            roundArgs.from(copy).to(tensor.pointer());
            Pointer at =
                Address.of(scratchAddress + offset + matrix.first() * DType.FLOAT32.bytes());
            check(dnnl_memory_set_data_handle(memory, at), "scratch");
          });
      return offset + aligned(tensor.count() * 4);
    }

    private graft_cast_args castArgs(long count, DType from, DType to) {
      graft_cast_args args = new graft_cast_args();
      Pointer.memset(args, 0, args.sizeof());
      return args.struct_size(args.sizeof())
          .count(count)
          .from_dtype(from.code())
          .to_dtype(to.code());
    }

    private void placeScratch() {
      for (Runnable place : placing) {
        place.run();
      }
    }

    @Override
    public void run() {
      cast(before);
      int status = dnnl_primitive_execute(primitive.primitive, stream, argumentCount, arguments);
      if (status != dnnl_success) {
        check(status, "matmul " + primitive.key);
      }
      cast(after);
    }

    private void cast(List<graft_cast_args> list) {
      for (int i = 0; i < list.size(); i++) {
        int status = graft.graft_cast(device.context(), list.get(i));
        if (status != graft.GRAFT_OK) {
          Status.check(status);
        }
      }
    }

    @Override
    public void close() {
      if (closed) {
        return;
      }
      closed = true;
      bound.remove(this);
      for (dnnl_memory memory : memories) {
        dnnl_memory_destroy(memory);
      }
      arguments.close();
      before.forEach(Pointer::close);
      after.forEach(Pointer::close);
    }
  }
}
