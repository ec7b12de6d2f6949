package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_attention_decode_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import java.util.Arrays;
import java.util.Map;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** One query a sequence against a KV cache, against libtorch's scaled_dot_product_attention. */
public final class DecodeCase extends KernelCase {
  private final int[] lengths;
  private final int heads;
  private final int headDim;
  private final int capacity;
  private final double[] q;
  private final double[] k;
  private final double[] v;
  private final Tensor tq;
  private final Tensor tk;
  private final Tensor tv;
  private final Tensor out;
  private final Tensor space;
  private final IntPointer lengthPointer;
  private final graft_attention_decode_args args = zeroed(new graft_attention_decode_args());

  public DecodeCase(Device device, int dtype, int[] lengths, int heads, int headDim, int capacity) {
    super(device, dtype);
    this.lengths = lengths;
    this.heads = heads;
    this.headDim = headDim;
    this.capacity = capacity;
    int batch = lengths.length;
    long row = (long) heads * headDim;
    q = Torch.normal(1, batch * row, 1, type);
    k = Torch.normal(2, batch * row * capacity, 1, type);
    v = Torch.normal(3, batch * row * capacity, 1, type);
    tq = Torch.of(q, type, batch, heads, headDim);
    tk = Torch.of(k, type, batch, heads, capacity, headDim);
    tv = Torch.of(v, type, batch, heads, capacity, headDim);
    out = Torch.zeros(type, batch, heads, headDim);
    lengthPointer = new IntPointer(lengths);
    args.struct_size(args.sizeof())
        .q(Torch.address(tq))
        .k_cache(Torch.address(tk))
        .v_cache(Torch.address(tv))
        .out(Torch.address(out))
        .lengths(lengthPointer)
        .batch(batch)
        .heads(heads)
        .head_dim(headDim)
        .cache_capacity(capacity)
        .scale((float) (1 / Math.sqrt(headDim)))
        .extra(0)
        .dtype(dtype);
    try (LongPointer bytes = new LongPointer(1)) {
      check(graft.graft_attention_decode_workspace(context, args, bytes));
      space = workspace(bytes.get());
    }
    args.workspace(space.data_ptr()).workspace_bytes(space.numel() * 4);
  }

  @Override
  public String op() {
    return "attention_decode";
  }

  @Override
  public String shape() {
    return String.format(
        "B%d H%d D%d cache %d",
        lengths.length, heads, headDim, lengths.length > 0 ? lengths[0] : 0);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    int batch = lengths.length;
    Tensor rq = Torch.of(q, precision, batch, heads, 1, headDim);
    Tensor rk = Torch.of(k, precision, batch, heads, capacity, headDim);
    Tensor rv = Torch.of(v, precision, batch, heads, capacity, headDim);
    return Map.of("out", Torch.values(attend(rq, rk, rv)));
  }

  private Tensor attend(Tensor rq, Tensor rk, Tensor rv) {
    TensorVector parts = new TensorVector();
    for (int b = 0; b < lengths.length; b++) {
      int used = Math.min(lengths[b], capacity);
      if (used == 0) {
        parts.push_back(Torch.zeros(rq.scalar_type(), 1, heads, 1, headDim));
        continue;
      }
      parts.push_back(
          torch.scaled_dot_product_attention(
              rq.narrow(0, b, 1),
              rk.narrow(0, b, 1).narrow(2, 0, used),
              rv.narrow(0, b, 1).narrow(2, 0, used),
              new TensorOptional(),
              0,
              false,
              new DoubleOptional((float) (1 / Math.sqrt(headDim))),
              false));
    }
    return torch.cat(parts, 0);
  }

  @Override
  public Map<String, double[]> results() {
    runGraft();
    return Map.of("out", Torch.values(out));
  }

  @Override
  public void runGraft() {
    check(graft.graft_attention_decode(context, args));
  }

  @Override
  public ObjectNode pytorch() {
    if (Arrays.stream(lengths).distinct().count() != 1) {
      return null;
    }
    return Json.object()
        .put("op", "decode")
        .put("batch", lengths.length)
        .put("heads", heads)
        .put("head_dim", headDim)
        .put("cache", Math.min(lengths[0], capacity));
  }

  @Override
  public void runTorch() {
    try (NoGradGuard guard = new NoGradGuard()) {
      attend(tq.unsqueeze(2), tk, tv);
    }
  }

  @Override
  public double bytes() {
    double keys = 0;
    for (int length : lengths) {
      keys += Math.min(length, capacity);
    }
    return 2 * keys * heads * headDim * elementBytes();
  }

  @Override
  public void close() {
    args.close();
    lengthPointer.close();
  }
}
