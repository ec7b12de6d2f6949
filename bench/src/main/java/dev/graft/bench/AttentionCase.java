package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_attention_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Attention over sequences of given lengths, queries and keys apart. The reference is libtorch's
 * scaled_dot_product_attention a sequence with an explicit bottom-right mask; with dropout the
 * composition of matmul, softmax, mask and matmul with the mask that graft.h documents.
 */
public final class AttentionCase extends KernelCase {
  private final int[] lengthsQ;
  private final int[] lengthsK;
  private final int heads;
  private final int headDim;
  private final boolean causal;
  private final int dropout;
  private final boolean backward;
  private final int tokensQ;
  private final int tokensK;
  private final double[] q;
  private final double[] k;
  private final double[] v;
  private final double[] dout;
  private final Tensor tq;
  private final Tensor tk;
  private final Tensor tv;
  private final Tensor tdout;
  private final Tensor out;
  private final Tensor lse;
  private final Tensor dq;
  private final Tensor dk;
  private final Tensor dv;
  private final Tensor forwardWorkspace;
  private final Tensor backwardWorkspace;
  private final IntPointer cuQ;
  private final IntPointer cuK;
  private final graft_attention_args args = zeroed(new graft_attention_args());
  private Tensor[] batched;

  public AttentionCase(
      Device device,
      int dtype,
      int[] lengthsQ,
      int[] lengthsK,
      int heads,
      int headDim,
      boolean causal,
      int dropout,
      boolean backward) {
    super(device, dtype);
    this.lengthsQ = lengthsQ;
    this.lengthsK = lengthsK;
    this.heads = heads;
    this.headDim = headDim;
    this.causal = causal;
    this.dropout = dropout;
    this.backward = backward;
    tokensQ = Arrays.stream(lengthsQ).sum();
    tokensK = Arrays.stream(lengthsK).sum();
    long width = (long) heads * headDim;
    q = Torch.normal(1, tokensQ * width, 1, type);
    k = Torch.normal(2, tokensK * width, 1, type);
    v = Torch.normal(3, tokensK * width, 1, type);
    dout = Torch.normal(4, tokensQ * width, 1, type);
    tq = Torch.of(q, type, tokensQ, heads, headDim);
    tk = Torch.of(k, type, tokensK, heads, headDim);
    tv = Torch.of(v, type, tokensK, heads, headDim);
    tdout = Torch.of(dout, type, tokensQ, heads, headDim);
    out = Torch.zeros(type, tokensQ, heads, headDim);
    lse = Torch.zeros(Torch.F32, heads, tokensQ);
    dq = Torch.zeros(type, tokensQ, heads, headDim);
    dk = Torch.zeros(type, tokensK, heads, headDim);
    dv = Torch.zeros(type, tokensK, heads, headDim);
    cuQ = offsets(lengthsQ);
    cuK = offsets(lengthsK);
    args.struct_size(args.sizeof())
        .q(Torch.address(tq))
        .k(Torch.address(tk))
        .v(Torch.address(tv))
        .out(Torch.address(out))
        .lse(lse.numel() == 0 ? null : new FloatPointer(lse.data_ptr()))
        .cu_seqlens_q(cuQ)
        .cu_seqlens_k(cuK)
        .dout(Torch.address(tdout))
        .dq(Torch.address(dq))
        .dk(Torch.address(dk))
        .dv(Torch.address(dv))
        .tokens_q(tokensQ)
        .tokens_k(tokensK)
        .batch(lengthsQ.length)
        .heads(heads)
        .head_dim(headDim)
        .max_seqlen_q(Arrays.stream(lengthsQ).max().orElse(0))
        .max_seqlen_k(Arrays.stream(lengthsK).max().orElse(0))
        .scale((float) (1 / Math.sqrt(headDim)))
        .causal(causal ? 1 : 0)
        .dropout(dropout)
        .op_id(5)
        .dtype(dtype);
    forwardWorkspace = workspaceFor(0);
    backwardWorkspace = workspaceFor(1);
  }

  private Tensor workspaceFor(int pass) {
    try (LongPointer bytes = new LongPointer(1)) {
      check(graft.graft_attention_workspace(context, args, pass, bytes));
      return workspace(bytes.get());
    }
  }

  private static IntPointer offsets(int[] lengths) {
    int[] offsets = new int[lengths.length + 1];
    for (int i = 0; i < lengths.length; i++) {
      offsets[i + 1] = offsets[i] + lengths[i];
    }
    return new IntPointer(offsets);
  }

  @Override
  public String op() {
    return backward ? "attention forward+backward" : "attention forward";
  }

  @Override
  public String shape() {
    String lengths =
        even()
            ? "B" + lengthsQ.length + " T" + lengthsQ[0]
            : "q" + Arrays.toString(lengthsQ) + " k" + Arrays.toString(lengthsK);
    return String.format(
        "%s H%d D%d%s%s",
        lengths, heads, headDim, causal ? " causal" : "", dropout > 0 ? " dropout " + dropout : "");
  }

  /** Whether all sequences are as long as one another, keys as queries. */
  private boolean even() {
    return lengthsQ.length > 0
        && Arrays.stream(lengthsQ).distinct().count() == 1
        && Arrays.equals(lengthsQ, lengthsK);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor rq = Torch.leaf(q, precision, tokensQ, heads, headDim);
    Tensor rk = Torch.leaf(k, precision, tokensK, heads, headDim);
    Tensor rv = Torch.leaf(v, precision, tokensK, heads, headDim);
    TensorVector parts = new TensorVector();
    long fromQ = 0;
    long fromK = 0;
    for (int b = 0; b < lengthsQ.length; b++) {
      int nq = lengthsQ[b];
      int nk = lengthsK[b];
      if (nq > 0) {
        // Rows that see no key: output 0, no gradient.
        int hidden = nk == 0 ? nq : causal ? Math.max(0, nq - nk) : 0;
        if (hidden > 0) {
          parts.push_back(Torch.zeros(precision, hidden, heads, headDim));
        }
        if (hidden < nq) {
          int seen = nq - hidden;
          Tensor sq = rq.narrow(0, fromQ + hidden, seen).transpose(0, 1);
          Tensor sk = rk.narrow(0, fromK, nk).transpose(0, 1);
          Tensor sv = rv.narrow(0, fromK, nk).transpose(0, 1);
          Tensor mask = causal ? mask(seen, nk, precision) : null;
          parts.push_back(attend(sq, sk, sv, mask, b, hidden, nq).transpose(0, 1));
        }
      }
      fromQ += nq;
      fromK += nk;
    }
    Map<String, double[]> results = new LinkedHashMap<>();
    if (parts.size() == 0) {
      results.put("out", new double[0]);
      if (backward) {
        results.put("dq", new double[0]);
        results.put("dk", new double[k.length]);
        results.put("dv", new double[v.length]);
      }
      return results;
    }
    Tensor all = torch.cat(parts, 0);
    results.put("out", Torch.values(all));
    if (backward) {
      all.mul(Torch.of(dout, precision, tokensQ, heads, headDim)).sum().backward();
      results.put("dq", gradient(rq));
      results.put("dk", gradient(rk));
      results.put("dv", gradient(rv));
    }
    return results;
  }

  private static double[] gradient(Tensor leaf) {
    Tensor grad = leaf.grad();
    return grad.defined() ? Torch.values(grad) : new double[Math.toIntExact(leaf.numel())];
  }

  private Tensor attend(
      Tensor sq, Tensor sk, Tensor sv, Tensor mask, int sequence, int firstRow, int rows) {
    double scale = (float) (1 / Math.sqrt(headDim));
    if (dropout == 0) {
      return torch
          .scaled_dot_product_attention(
              sq.unsqueeze(0),
              sk.unsqueeze(0),
              sv.unsqueeze(0),
              mask == null ? new TensorOptional() : new TensorOptional(mask),
              0,
              false,
              new DoubleOptional(scale),
              false)
          .squeeze(0);
    }
    Tensor scores = torch.matmul(sq, sk.transpose(1, 2)).mul(Torch.scalar(scale));
    if (mask != null) {
      scores = scores.add(mask);
    }
    int seen = rows - firstRow;
    int keys = Math.toIntExact(sk.size(1));
    double[] factors =
        KeepMask.attention(
            Philox.streamKey(SEED, STEP, 5), dropout, sequence, heads, firstRow, seen, keys);
    Tensor keep = Torch.of(factors, scores.scalar_type(), heads, seen, keys);
    return torch.matmul(scores.softmax(-1).mul(keep), sv);
  }

  private static Tensor mask(int rows, int keys, ScalarType precision) {
    double[] values = new double[rows * keys];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < keys; j++) {
        values[i * keys + j] = j <= i + keys - rows ? 0 : Double.NEGATIVE_INFINITY;
      }
    }
    return Torch.of(values, precision, rows, keys);
  }

  @Override
  public Map<String, double[]> results() {
    runGraft();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("out", Torch.values(out));
    if (backward) {
      results.put("dq", Torch.values(dq));
      results.put("dk", Torch.values(dk));
      results.put("dv", Torch.values(dv));
    }
    return results;
  }

  @Override
  public void runGraft() {
    step(0, 1);
    args.workspace(forwardWorkspace.data_ptr()).workspace_bytes(forwardWorkspace.numel() * 4);
    check(graft.graft_attention_forward(context, args));
    if (backward) {
      args.workspace(backwardWorkspace.data_ptr()).workspace_bytes(backwardWorkspace.numel() * 4);
      check(graft.graft_attention_backward(context, args));
    }
  }

  /** Even lengths only: [B, H, T, D], as PyTorch users call it. */
  @Override
  public void prepareTorch() {
    batched = new Tensor[] {batched(q), batched(k), batched(v), batched(dout)};
  }

  @Override
  public ObjectNode pytorch() {
    if (dropout > 0 || !even()) {
      return null;
    }
    return Json.object()
        .put("op", "attention")
        .put("batch", lengthsQ.length)
        .put("heads", heads)
        .put("tokens", lengthsQ[0])
        .put("head_dim", headDim)
        .put("causal", causal)
        .put("backward", backward);
  }

  @Override
  public void runTorch() {
    if (backward) {
      Tensor rq = batched[0].detach().set_requires_grad(true);
      Tensor rk = batched[1].detach().set_requires_grad(true);
      Tensor rv = batched[2].detach().set_requires_grad(true);
      Tensor result = sdpa(rq, rk, rv);
      result.backward(
          batched[3],
          new org.bytedeco.pytorch.BoolOptional(),
          false,
          new org.bytedeco.pytorch.TensorArrayRefOptional());
    } else {
      try (NoGradGuard guard = new NoGradGuard()) {
        sdpa(batched[0], batched[1], batched[2]);
      }
    }
  }

  private Tensor sdpa(Tensor a, Tensor b, Tensor c) {
    return torch.scaled_dot_product_attention(
        a, b, c, new TensorOptional(), 0, causal, new DoubleOptional(), false);
  }

  private Tensor batched(double[] packed) {
    return Torch.of(packed, type, lengthsQ.length, lengthsQ[0], heads, headDim)
        .transpose(1, 2)
        .contiguous();
  }

  @Override
  public double flops() {
    double pairs = 0;
    for (int b = 0; b < lengthsQ.length; b++) {
      double all = (double) lengthsQ[b] * lengthsK[b];
      pairs += causal ? all / 2 : all;
    }
    return (backward ? 14 : 4) * pairs * headDim * heads;
  }

  @Override
  public void close() {
    args.close();
    cuQ.close();
    cuK.close();
  }
}
