package dev.graft.torch;

import static dev.graft.torch.Arguments.address;
import static dev.graft.torch.Arguments.bytes;
import static dev.graft.torch.Arguments.refuse;
import static dev.graft.torch.Arguments.zeroed;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_attention_args;
import dev.graft.runtime.Address;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.Tensor;

/**
 * {@code scaled_dot_product_attention} by Graft's kernels, on libtorch tensors, without a copy:
 *
 * <pre>{@code
 * try (Device device = Device.cpu();
 *     FusedAttention attention = new FusedAttention(device)) {
 *   FusedAttention.Result o = attention.forward(q, k, v, true);      // [B, H, T, D]
 *   FusedAttention.Gradients g = attention.backward(o, dout);
 * }
 * }</pre>
 *
 * <p>q, k and v are [B, H, T, D], fp32 or bf16, in either of the layouts PyTorch programs have:
 * contiguous, or a transposed view of [B, T, H, D] (of a packed [B, T, 3, H, D] too). The three
 * agree, and the output has the layout of q. Softmax(scale · QKᵀ) V is never materialised (Dao
 * 2023, arXiv:2307.08691); the backward pass is deterministic. One thread at a time.
 */
public final class FusedAttention implements AutoCloseable {
  private static final int OP_ID = 0x4154;

  /**
   * What the backward pass reads; the tensors are the caller's again when both are dropped.
   *
   * @param out [B, H, Tq, D]
   * @param logSumExp fp32, one a head and query; −∞ for a query that sees no key
   */
  public record Result(
      Tensor out, Tensor logSumExp, Tensor q, Tensor k, Tensor v, boolean causal, long step) {}

  /** Gradients of q, k and v, in the layout of each. */
  public record Gradients(Tensor dq, Tensor dk, Tensor dv) {}

  /** How rows of a [B, H, T, D] tensor lie: those of one token together, or those of one head. */
  private enum Layout {
    TOKENS,
    HEADS
  }

  private final Device device;
  private final double scale;
  private final int dropout;
  private final long seed;
  private final graft_attention_args args = zeroed(new graft_attention_args());
  private final Offsets offsetsQ = new Offsets();
  private final Offsets offsetsK = new Offsets();
  private long step;

  /** Scale 1 / √D, no dropout. */
  public FusedAttention(Device device) {
    this(device, Double.NaN, 0, 0);
  }

  /**
   * @param scale of QKᵀ; NaN for 1 / √D
   * @param dropout probability of a probability's being dropped, rounded to k / 256
   * @param seed of the draws; every forward pass draws anew, and its backward pass the same again
   */
  public FusedAttention(Device device, double scale, double dropout, long seed) {
    if (!(dropout >= 0 && dropout < 1)) {
      throw refuse("dropout", "a probability in [0, 1)", dropout);
    }
    this.device = device;
    this.scale = scale;
    this.dropout = Math.min(255, (int) Math.round(256 * dropout));
    this.seed = seed;
    args.struct_size(args.sizeof()).op_id(OP_ID);
  }

  /**
   * Attends.
   *
   * @param q [B, H, Tq, D]
   * @param k [B, H, Tk, D]
   * @param v [B, H, Tk, D]
   * @param causal query i sees keys up to i; Tq and Tk must then be equal
   * @throws IllegalArgumentException if dtypes, shapes or layouts do not fit, naming the argument
   */
  public Result forward(Tensor q, Tensor k, Tensor v, boolean causal) {
    DType dtype = describe(q, k, v, causal);
    Layout layout = layout(q, k, v);
    long[] size = Arguments.shape(q);
    Tensor out = like(q, dtype, layout);
    boolean apart = layout == Layout.HEADS;
    long tokens = size[0] * size[2];
    Tensor lse =
        Arguments.empty(q, DType.FLOAT32, apart ? 1 : size[1], apart ? tokens * size[1] : tokens);
    Result result = new Result(out, lse, q, k, v, causal, ++step);
    if (out.numel() > 0) {
      bind(result, layout);
      run(result, false);
    }
    return result;
  }

  /**
   * The gradients of a forward pass.
   *
   * @param dout gradient of its output, [B, H, Tq, D], in the output's layout
   */
  public Gradients backward(Result result, Tensor dout) {
    DType dtype = describe(result.q(), result.k(), result.v(), result.causal());
    Layout layout = layout(result.q(), result.k(), result.v());
    check("dout", dout, dtype, Arguments.shape(result.out()));
    Tensor dq = like(result.q(), dtype, layout);
    Tensor dk = like(result.k(), dtype, layout);
    Tensor dv = like(result.v(), dtype, layout);
    if (result.out().numel() > 0) {
      bind(result, layout);
      args.dout(address(dout)).dout_token_stride(tokenStride("dout", dout, layout));
      args.dq(address(dq)).dq_token_stride(tokenStride("dq", dq, layout));
      args.dk(address(dk)).dk_token_stride(tokenStride("dk", dk, layout));
      args.dv(address(dv)).dv_token_stride(tokenStride("dv", dv, layout));
      run(result, true);
    } else {
      dk.zero_();
      dv.zero_();
    }
    return new Gradients(dq, dk, dv);
  }

  private static Tensor like(Tensor tensor, DType dtype, Layout layout) {
    long[] size = Arguments.shape(tensor);
    return layout == Layout.HEADS
        ? Arguments.empty(tensor, dtype, size)
        : Arguments.empty(tensor, dtype, size[0], size[2], size[1], size[3]).transpose(1, 2);
  }

  /** Checks dtypes and shapes. */
  private DType describe(Tensor q, Tensor k, Tensor v, boolean causal) {
    DType dtype = TorchTensors.dtype("q", q);
    if (!dtype.isFloat()) {
      throw refuse("q", "FLOAT32 or BFLOAT16", dtype);
    }
    check("q", q, dtype, -1, -1, -1, -1);
    check("k", k, dtype, q.size(0), q.size(1), -1, q.size(3));
    check("v", v, dtype, q.size(0), q.size(1), k.size(2), q.size(3));
    if (causal && q.size(2) != k.size(2)) {
      // PyTorch counts from the top left here, FlashAttention and graft.h from the bottom right.
      throw refuse("k", q.size(2) + " keys, as many as queries, where causal", k.size(2));
    }
    return dtype;
  }

  private void check(String argument, Tensor tensor, DType dtype, long... shape) {
    TorchTensors.expect(argument, tensor, device, dtype, shape);
    if (tensor.size(3) > 1 && tensor.stride(3) != 1) {
      throw refuse(argument, "stride 1 of the last axis", tensor.stride(3));
    }
  }

  private static Layout layout(Tensor q, Tensor k, Tensor v) {
    for (Layout layout : Layout.values()) {
      if (lies(q, layout) && lies(k, layout) && lies(v, layout)) {
        return layout;
      }
    }
    throw refuse(
        "q, k, v",
        "all contiguous [B, H, T, D], or all transposed views of [B, T, H, D]",
        "strides "
            + Arrays.toString(q.strides().vec().get())
            + ", "
            + Arrays.toString(k.strides().vec().get())
            + ", "
            + Arrays.toString(v.strides().vec().get()));
  }

  /** Whether rows lie so; the stride of an axis of one element never matters. */
  private static boolean lies(Tensor x, Layout layout) {
    long b = x.size(0);
    long h = x.size(1);
    long t = x.size(2);
    long d = x.size(3);
    if (layout == Layout.HEADS) {
      return (t <= 1 || x.stride(2) == d)
          && (h <= 1 || x.stride(1) == t * d)
          && (b <= 1 || x.stride(0) == h * t * d);
    }
    long token = t > 1 ? x.stride(2) : b > 1 ? x.stride(0) : h * d;
    return (h <= 1 || x.stride(1) == d) && token >= h * d && (b <= 1 || x.stride(0) == t * token);
  }

  private static long tokenStride(String argument, Tensor x, Layout layout) {
    if (!lies(x, layout)) {
      throw refuse(
          argument,
          layout == Layout.HEADS ? "a contiguous tensor" : "a transposed view of [B, T, H, D]",
          "strides " + Arrays.toString(x.strides().vec().get()));
    }
    if (layout == Layout.HEADS) {
      return x.size(3);
    }
    return x.size(2) > 1 ? x.stride(2) : x.size(0) > 1 ? x.stride(0) : x.size(1) * x.size(3);
  }

  /** Where heads lie apart, each is a sequence of its own with a single head. */
  private void bind(Result r, Layout layout) {
    boolean apart = layout == Layout.HEADS;
    Tensor q = r.q();
    Tensor k = r.k();
    long sequences = apart ? q.size(0) * q.size(1) : q.size(0);
    long d = q.size(3);
    args.heads(apart ? 1 : q.size(1))
        .head_dim(d)
        .batch(sequences)
        .tokens_q(sequences * q.size(2))
        .tokens_k(sequences * k.size(2))
        .max_seqlen_q(q.size(2))
        .max_seqlen_k(k.size(2))
        .scale((float) (Double.isNaN(scale) ? 1 / Math.sqrt(d) : scale))
        .causal(r.causal() ? 1 : 0)
        .dropout(dropout)
        .dtype(TorchTensors.dtype("q", q).code())
        .q(address(q))
        .k(address(k))
        .v(address(r.v()))
        .out(address(r.out()))
        .lse(new FloatPointer(r.logSumExp().data_ptr()))
        .cu_seqlens_q(offsetsQ.of(sequences, q.size(2)))
        .cu_seqlens_k(offsetsK.of(sequences, k.size(2)))
        .q_token_stride(tokenStride("q", q, layout))
        .k_token_stride(tokenStride("k", k, layout))
        .v_token_stride(tokenStride("v", r.v(), layout))
        .out_token_stride(tokenStride("out", r.out(), layout));
  }

  /** First rows of sequences as long as one another, in memory of the kernel's device. */
  private final class Offsets implements AutoCloseable {
    private Arena arena;
    private int[] rows = {};
    private IntPointer address;

    /** Made anew only where the last call had others. */
    IntPointer of(long sequences, long length) {
      int end = Math.toIntExact(sequences * length);
      if (rows.length != sequences + 1 || rows[rows.length - 1] != end) {
        close();
        rows = new int[Math.toIntExact(sequences + 1)];
        Arrays.setAll(rows, b -> Math.toIntExact(b * length));
        arena = new Arena(device, "offsets");
        dev.graft.runtime.Tensor there = arena.zeros("offsets", DType.INT32, rows.length);
        there.put(rows, rows.length);
        address = Address.ints(there.address());
      }
      return address;
    }

    @Override
    public void close() {
      if (arena != null) {
        arena.close();
        arena = null;
      }
    }
  }

  private void run(Result result, boolean backward) {
    device.stepBegin(seed, result.step(), 0, 0, 1, 1);
    try (Tensor workspace =
        Arguments.workspace(
            result.q(),
            out ->
                graft.graft_attention_workspace(device.context(), args, backward ? 1 : 0, out))) {
      args.workspace(address(workspace)).workspace_bytes(bytes(workspace));
      Status.check(
          backward
              ? graft.graft_attention_backward(device.context(), args)
              : graft.graft_attention_forward(device.context(), args));
    }
  }

  @Override
  public void close() {
    args.close();
    offsetsQ.close();
    offsetsK.close();
  }
}
