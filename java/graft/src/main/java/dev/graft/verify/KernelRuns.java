package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.program.Ops.Activation;
import dev.graft.program.Ops.AttentionEngine;
import dev.graft.program.Ops.AttentionShape;
import dev.graft.program.Ops.NormDropout;
import dev.graft.program.ParameterSet;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import dev.graft.runtime.Tensor;
import dev.graft.verify.KernelRun.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** Each kernel on one shape, with its count of bytes or operations. */
final class KernelRuns {
  private static final float EPS = 1e-5f;

  private final Device device;
  private final int repeats;

  /**
   * @param repeats how often a run does its work; fewer where the operands are large
   */
  KernelRuns(Device device, int repeats) {
    this.device = device;
    this.repeats = repeats;
  }

  /**
   * Self-attention. FLOPs: two products forward and five backward over the pairs that are seen.
   *
   * @param dropout k of k/256
   * @param engine of Graft's
   * @param engines of PyTorch's scaled_dot_product_attention
   */
  KernelRun attention(
      int batch,
      int tokens,
      int heads,
      int headDim,
      boolean causal,
      int dropout,
      boolean backward,
      AttentionEngine engine,
      List<String> engines) {
    DType dtype = DType.BFLOAT16;
    long rows = (long) batch * tokens;
    long width = (long) heads * headDim;
    double pairs = (double) batch * tokens * tokens / (causal ? 2 : 1);
    Kind kind =
        new Kind(
            "attention" + passes(backward) + (engine == AttentionEngine.SM90 ? ", sm_90a" : ""),
            dtype,
            String.format(
                "B%d T%d H%d D%d%s%s",
                batch,
                tokens,
                heads,
                headDim,
                causal ? " causal" : "",
                dropout > 0 ? String.format(" dropout %.2f", dropout / 256.0) : ""),
            0,
            (backward ? 14 : 4) * pairs * width);
    AttentionShape shape =
        new AttentionShape(
            heads,
            headDim,
            batch,
            tokens,
            causal,
            (float) (1 / Math.sqrt(headDim)),
            dropout,
            5,
            engine);
    int[] offsets = IntStream.rangeClosed(0, batch).map(b -> b * tokens).toArray();
    KernelRun run =
        new KernelRun(
            device,
            kind,
            repeats,
            (own, ops) -> {
              Tensor qkv = own.normal(dtype, rows, 3 * width);
              Tensor out = own.empty(dtype, rows, width);
              Tensor lse = own.empty(DType.FLOAT32, heads, rows);
              Tensor cuSeqlens = own.integers(offsets);
              ops.attention(qkv, out, lse, cuSeqlens, shape);
              if (backward) {
                Tensor dout = own.normal(dtype, rows, width);
                Tensor dqkv = own.empty(dtype, rows, 3 * width);
                ops.attentionBackward(qkv, out, lse, dout, dqkv, cuSeqlens, shape);
              }
            });
    for (String backend : engines) {
      run.peer(
          "PyTorch " + backend,
          Json.object()
              .put("op", "attention")
              .put("batch", batch)
              .put("heads", heads)
              .put("tokens", tokens)
              .put("head_dim", headDim)
              .put("causal", causal)
              .put("dropout", dropout / 256.0)
              .put("backend", backend)
              .put("backward", backward));
    }
    return run;
  }

  /** One query a sequence against its keys and values; bytes: the cache once. */
  KernelRun decode(int batch, int heads, int headDim, int cache) {
    DType dtype = DType.BFLOAT16;
    long width = (long) heads * headDim;
    int[] lengths = new int[batch];
    Arrays.fill(lengths, cache - 1);
    Kind kind =
        new Kind(
            "attention decode",
            dtype,
            String.format("B%d H%d D%d cache %d", batch, heads, headDim, cache),
            2.0 * batch * width * cache * dtype.bytes(),
            0);
    return new KernelRun(
            device,
            kind,
            repeats,
            (own, ops) ->
                ops.attentionDecode(
                    own.normal(dtype, batch, 3 * width),
                    own.normal(dtype, batch, heads, cache, headDim),
                    own.normal(dtype, batch, heads, cache, headDim),
                    own.empty(dtype, batch, width),
                    own.integers(lengths),
                    heads,
                    headDim,
                    (float) (1 / Math.sqrt(headDim))))
        .peer(
            "PyTorch",
            Json.object()
                .put("op", "decode")
                .put("batch", batch)
                .put("heads", heads)
                .put("head_dim", headDim)
                .put("cache", cache));
  }

  /** GELU of x + bias; backward reads x and dy and writes dx. */
  KernelRun activation(int rows, int channels, Activation form, boolean backward) {
    DType dtype = DType.BFLOAT16;
    Kind kind =
        new Kind(
            "bias + " + form.name().toLowerCase(java.util.Locale.ROOT) + passes(backward),
            dtype,
            rows + "x" + channels,
            (backward ? 5.0 : 2.0) * rows * channels * dtype.bytes(),
            0);
    ObjectNode peer =
        Json.object()
            .put("op", "activation")
            .put("rows", rows)
            .put("channels", channels)
            .put("form", form == Activation.GELU_TANH ? "tanh" : "erf")
            .put("backward", backward);
    return new KernelRun(
            device,
            kind,
            repeats,
            (own, ops) -> {
              Tensor x = own.normal(dtype, rows, channels);
              Tensor bias = own.normal(dtype, channels);
              ops.activation(form, x, bias, own.empty(dtype, rows, channels));
              if (backward) {
                ops.activationBackward(
                    form,
                    x,
                    bias,
                    own.normal(dtype, rows, channels),
                    own.empty(dtype, rows, channels),
                    own.empty(DType.FLOAT32, channels));
              }
            })
        .eagerAndCompiled(peer);
  }

  /** Residual + LayerNorm, both outputs used; backward with the gradients of gamma, beta, bias. */
  KernelRun addNorm(int rows, int channels, boolean backward) {
    DType dtype = DType.BFLOAT16;
    Kind kind =
        new Kind(
            "residual + LayerNorm" + passes(backward),
            dtype,
            rows + "x" + channels,
            (backward ? 8.0 : 4.0) * rows * channels * dtype.bytes(),
            0);
    ObjectNode peer =
        Json.object()
            .put("op", "add_norm")
            .put("rows", rows)
            .put("channels", channels)
            .put("backward", backward);
    return new KernelRun(
            device,
            kind,
            repeats,
            (own, ops) -> {
              Tensor sum = own.empty(dtype, rows, channels);
              Tensor gamma = own.normal(dtype, channels);
              Tensor mean = own.empty(DType.FLOAT32, rows);
              Tensor rstd = own.empty(DType.FLOAT32, rows);
              ops.addNorm(
                  own.normal(dtype, rows, channels),
                  own.normal(dtype, rows, channels),
                  sum,
                  own.empty(dtype, rows, channels),
                  gamma,
                  own.normal(dtype, channels),
                  mean,
                  rstd,
                  EPS,
                  NormDropout.NONE);
              if (backward) {
                ops.addNormBackward(
                    own.normal(dtype, rows, channels),
                    own.normal(dtype, rows, channels),
                    sum,
                    gamma,
                    mean,
                    rstd,
                    own.empty(dtype, rows, channels),
                    null,
                    own.empty(DType.FLOAT32, channels),
                    own.empty(DType.FLOAT32, channels),
                    own.empty(DType.FLOAT32, channels),
                    NormDropout.NONE);
              }
            })
        .eagerAndCompiled(peer);
  }

  /** Cross-entropy and its gradient in place. */
  KernelRun classifier(int rows, int vocabulary) {
    DType dtype = DType.BFLOAT16;
    Kind kind =
        new Kind(
            "classifier",
            dtype,
            rows + "x" + vocabulary,
            2.0 * rows * vocabulary * dtype.bytes(),
            0);
    ObjectNode peer =
        Json.object().put("op", "classifier").put("rows", rows).put("vocabulary", vocabulary);
    return new KernelRun(
            device,
            kind,
            few(),
            (own, ops) ->
                ops.classifier(
                    own.normal(dtype, rows, vocabulary),
                    own.integers(ids(rows, vocabulary, 1)),
                    null,
                    vocabulary,
                    0,
                    false))
        .eagerAndCompiled(peer);
  }

  /** Word + position, both passes; bytes of the rows that are read and written, fp32 gradients. */
  KernelRun embedding(int tokens, int channels, int vocabulary, int positions) {
    DType dtype = DType.BFLOAT16;
    int[] words = ids(tokens, vocabulary, 2);
    int[] places = IntStream.range(0, tokens).map(t -> t % positions).toArray();
    Kind kind =
        new Kind(
            "embedding" + passes(true),
            dtype,
            tokens + "x" + channels + " V" + vocabulary,
            tokens * (double) channels * (3 * dtype.bytes() + 2 * dtype.bytes() + 2 * 2 * 4),
            0);
    return new KernelRun(
            device,
            kind,
            few(),
            (own, ops) -> {
              Tensor ids = own.integers(words);
              Tensor positionIds = own.integers(places);
              ops.embedding(
                  ids,
                  positionIds,
                  null,
                  own.normal(dtype, vocabulary, channels),
                  own.normal(dtype, positions, channels),
                  null,
                  own.empty(dtype, tokens, channels));
              Tensor dout = own.normal(dtype, tokens, channels);
              ops.embeddingBackward(
                  ids,
                  own.integers(order(words)),
                  dout,
                  own.empty(DType.FLOAT32, vocabulary, channels));
              ops.embeddingBackward(
                  positionIds,
                  own.integers(order(places)),
                  dout,
                  own.empty(DType.FLOAT32, positions, channels));
            })
        .peer(
            "PyTorch",
            Json.object()
                .put("op", "embedding")
                .put("tokens", tokens)
                .put("channels", channels)
                .put("vocabulary", vocabulary)
                .put("positions", positions));
  }

  /** Norm, clip, AdamW over fp32 masters with bf16 copies, gradients to zero: 38 bytes each. */
  KernelRun adamw(int[] sizes) {
    double count = Arrays.stream(sizes).asLongStream().sum();
    Kind kind =
        new Kind(
            "gradient norm + AdamW",
            DType.BFLOAT16,
            String.format("%,d parameters", (long) count),
            38 * count,
            0);
    ObjectNode peer = Json.object().put("op", "adamw");
    ArrayNode list = peer.putArray("sizes");
    Arrays.stream(sizes).forEach(list::add);
    KernelRun run =
        new KernelRun(
            device,
            kind,
            1,
            (own, ops) -> {
              List<ParameterSet.Entry> entries = new ArrayList<>();
              for (int size : sizes) {
                entries.add(
                    new ParameterSet.Entry(
                        own.normal(DType.FLOAT32, size),
                        own.normal(DType.FLOAT32, size),
                        own.empty(DType.BFLOAT16, size),
                        own.empty(DType.FLOAT32, size),
                        own.empty(DType.FLOAT32, size),
                        0.01f,
                        1));
              }
              ParameterSet set = own.own(new ParameterSet(device, entries));
              ops.gradNorm(set, 1);
              ops.adamw(set, 0.9f, 0.999f, 1e-8f);
            });
    return run.peer("PyTorch fused", peer);
  }

  /** x · Wᵀ + b. */
  KernelRun product(int m, int n, int k) {
    DType dtype = DType.BFLOAT16;
    Kind kind =
        new Kind("product", dtype, String.format("M%d N%d K%d", m, n, k), 0, 2.0 * m * n * k);
    return new KernelRun(
            device,
            kind,
            repeats,
            (own, ops) ->
                ops.gemm(
                    "product",
                    own.normal(dtype, m, k),
                    false,
                    own.normal(dtype, n, k),
                    true,
                    own.empty(dtype, m, n),
                    false,
                    own.normal(dtype, n)))
        .peer("PyTorch", Json.object().put("op", "gemm").put("m", m).put("n", n).put("k", k));
  }

  private int few() {
    return Math.min(repeats, 4);
  }

  private static String passes(boolean backward) {
    return backward ? " forward + backward" : " forward";
  }

  private static int[] ids(int count, int bound, long seed) {
    Philox random = new Philox(seed);
    return IntStream.range(0, count).map(i -> random.nextInt(bound)).toArray();
  }

  /** The stable order of rows by id. */
  private static int[] order(int[] ids) {
    return IntStream.range(0, ids.length)
        .boxed()
        .sorted(Comparator.comparingInt(t -> ids[t]))
        .mapToInt(Integer::intValue)
        .toArray();
  }
}
