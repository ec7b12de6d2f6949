package dev.graft.program;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_activation_args;
import dev.graft.bindings.graft_adamw_args;
import dev.graft.bindings.graft_add_args;
import dev.graft.bindings.graft_add_norm_args;
import dev.graft.bindings.graft_add_norm_backward_args;
import dev.graft.bindings.graft_attention_args;
import dev.graft.bindings.graft_attention_decode_args;
import dev.graft.bindings.graft_binary_cross_entropy_args;
import dev.graft.bindings.graft_cast_args;
import dev.graft.bindings.graft_classifier_args;
import dev.graft.bindings.graft_column_sum_args;
import dev.graft.bindings.graft_context;
import dev.graft.bindings.graft_dropout_args;
import dev.graft.bindings.graft_embedding_args;
import dev.graft.bindings.graft_embedding_backward_args;
import dev.graft.bindings.graft_grad_norm_args;
import dev.graft.bindings.graft_kv_append_args;
import dev.graft.bindings.graft_lamb_args;
import dev.graft.bindings.graft_mean_squared_error_args;
import dev.graft.bindings.graft_quantize_args;
import dev.graft.bindings.graft_random_args;
import dev.graft.bindings.graft_rows_args;
import dev.graft.bindings.graft_sample_args;
import dev.graft.bindings.graft_segment_classifier_args;
import dev.graft.runtime.Address;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Gemm;
import dev.graft.runtime.Tensor;
import java.util.function.IntSupplier;
import java.util.function.ToIntFunction;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * Records the ops of graft.h into a {@link Program}. Every method adds one call; shapes are checked
 * by the native side when the call first runs, and here where they would be ambiguous. Formulas,
 * dtypes and aliasing rules stand in graft.h beside the op of the same name.
 */
public final class Ops {
  /** A target no loss counts. */
  private static final int IGNORED = -100;

  /** Forms of {@link #activation}. */
  public enum Activation {
    GELU_TANH(graft.GRAFT_GELU_TANH),
    GELU_ERF(graft.GRAFT_GELU_ERF),
    TANH(graft.GRAFT_TANH),
    RELU(graft.GRAFT_RELU);

    private final int code;

    Activation(int code) {
      this.code = code;
    }
  }

  /** Which kernel computes attention; see graft.h. */
  public enum AttentionEngine {
    /** What the library takes for the device. */
    AUTO(graft.GRAFT_ATTENTION_AUTO),
    /** For every device. */
    BASE(graft.GRAFT_ATTENTION_BASE),
    /** For Hopper's warpgroup products, bf16; see {@link Device#hasWarpgroups}. */
    SM90(graft.GRAFT_ATTENTION_SM90);

    private final int code;

    AttentionEngine(int code) {
      this.code = code;
    }
  }

  /**
   * Self-attention over packed tokens.
   *
   * @param batch most sequences a run may hold
   * @param maxSeqlen longest sequence a run may hold
   * @param dropout k of k/256
   * @param opId tells this place's random draws from others'
   */
  public record AttentionShape(
      int heads,
      int headDim,
      int batch,
      int maxSeqlen,
      boolean causal,
      float scale,
      int dropout,
      int opId,
      AttentionEngine engine) {

    /** By the engine the library takes. */
    public AttentionShape(
        int heads,
        int headDim,
        int batch,
        int maxSeqlen,
        boolean causal,
        float scale,
        int dropout,
        int opId) {
      this(heads, headDim, batch, maxSeqlen, causal, scale, dropout, opId, AttentionEngine.AUTO);
    }
  }

  /** Dropout of {@link #addNorm}: on the sublayer's output, and on the norm's output. */
  public record NormDropout(int dropout, int opId, int outDropout, int outOpId) {
    public static final NormDropout NONE = new NormDropout(0, 0, 0, 0);
  }

  /** Settings of {@link #sample}. Temperature 0 takes the arg max. */
  public record Sampling(
      float temperature, int topK, float topP, float repetitionPenalty, int opId) {}

  private final Program program;

  public Ops(Program program) {
    this.program = program;
  }

  public Program program() {
    return program;
  }

  /**
   * k of k/256 for a dropout probability; the nearest, and at least 1 for a probability above 0.
   */
  public static int dropoutByte(double probability) {
    if (!(probability >= 0 && probability < 1)) {
      throw new IllegalArgumentException("dropout: expected [0, 1), got " + probability);
    }
    int k = (int) Math.round(probability * 256);
    return probability > 0 ? Math.min(255, Math.max(1, k)) : 0;
  }

  // ---- attention
  // ---------------------------------------------------------------------------------

  /**
   * @param qkv [T, 3·H·D]
   * @param out [T, H·D]
   * @param lse fp32 [H, T]
   * @param cuSeqlens int32 [batch + 1]
   */
  public void attention(
      Tensor qkv, Tensor out, Tensor lse, Tensor cuSeqlens, AttentionShape shape) {
    graft_attention_args args = attentionArgs(qkv, shape);
    Tensor workspace = attentionWorkspace(args, false);
    add(
        "attention",
        args,
        () -> {
          bindAttention(args, qkv, out, lse, cuSeqlens, shape);
          args.workspace(address(workspace)).workspace_bytes(bytes(workspace));
        },
        graft::graft_attention_forward,
        qkv,
        out,
        lse,
        cuSeqlens,
        workspace);
  }

  /** Gradient of {@link #attention}: dqkv [T, 3·H·D], another buffer than qkv. */
  public void attentionBackward(
      Tensor qkv,
      Tensor out,
      Tensor lse,
      Tensor dout,
      Tensor dqkv,
      Tensor cuSeqlens,
      AttentionShape shape) {
    graft_attention_args args = attentionArgs(qkv, shape);
    Tensor workspace = attentionWorkspace(args, true);
    long width = (long) shape.heads() * shape.headDim();
    args.dq_token_stride(3 * width).dk_token_stride(3 * width).dv_token_stride(3 * width);
    add(
        "attention_backward",
        args,
        () -> {
          bindAttention(args, qkv, out, lse, cuSeqlens, shape);
          long step = width * qkv.dtype().bytes();
          args.dout(dout.pointer())
              .dq(dqkv.pointer())
              .dk(Address.of(dqkv.address() + step))
              .dv(Address.of(dqkv.address() + 2 * step))
              .workspace(address(workspace))
              .workspace_bytes(bytes(workspace));
        },
        graft::graft_attention_backward,
        qkv,
        out,
        lse,
        dout,
        dqkv,
        cuSeqlens,
        workspace);
  }

  private static graft_attention_args attentionArgs(Tensor qkv, AttentionShape shape) {
    long width = (long) shape.heads() * shape.headDim();
    if (qkv.size(-1) != 3 * width) {
      throw new IllegalArgumentException(
          "attention: qkv: expected last axis " + 3 * width + ", got " + qkv);
    }
    graft_attention_args args = zeroed(new graft_attention_args());
    args.struct_size(args.sizeof())
        .q_token_stride(3 * width)
        .k_token_stride(3 * width)
        .v_token_stride(3 * width)
        .tokens_q(qkv.size(0))
        .tokens_k(qkv.size(0))
        .batch(shape.batch())
        .heads(shape.heads())
        .head_dim(shape.headDim())
        .max_seqlen_q(shape.maxSeqlen())
        .max_seqlen_k(shape.maxSeqlen())
        .scale(shape.scale())
        .causal(shape.causal() ? 1 : 0)
        .dropout(shape.dropout())
        .op_id(shape.opId())
        .dtype(qkv.dtype().code())
        .engine(shape.engine().code);
    return args;
  }

  private Tensor attentionWorkspace(graft_attention_args args, boolean backward) {
    return workspace(
        out -> graft.graft_attention_workspace(context(), args, backward ? 1 : 0, out));
  }

  private static void bindAttention(
      graft_attention_args args,
      Tensor qkv,
      Tensor out,
      Tensor lse,
      Tensor cuSeqlens,
      AttentionShape shape) {
    long step = (long) shape.heads() * shape.headDim() * qkv.dtype().bytes();
    IntPointer offsets = ints(cuSeqlens);
    args.q(qkv.pointer())
        .k(Address.of(qkv.address() + step))
        .v(Address.of(qkv.address() + 2 * step))
        .out(out.pointer())
        .lse(floats(lse))
        .cu_seqlens_q(offsets)
        .cu_seqlens_k(offsets);
  }

  /**
   * Writes the keys and values of packed qkv [T, 3·H·D] into the caches [batch, H, capacity, D]
   * behind the {@code lengths} tokens there; cuSeqlens null: one token a sequence.
   */
  public void kvAppend(
      Tensor qkv,
      Tensor keyCache,
      Tensor valueCache,
      Tensor cuSeqlens,
      Tensor lengths,
      int heads,
      int headDim) {
    long width = (long) heads * headDim;
    graft_kv_append_args args = zeroed(new graft_kv_append_args());
    args.struct_size(args.sizeof())
        .k_token_stride(3 * width)
        .v_token_stride(3 * width)
        .batch(keyCache.size(0))
        .heads(heads)
        .head_dim(headDim)
        .cache_capacity(keyCache.size(2))
        .dtype(qkv.dtype().code());
    add(
        "kv_append",
        args,
        () -> {
          long step = width * qkv.dtype().bytes();
          args.k(Address.of(qkv.address() + step))
              .v(Address.of(qkv.address() + 2 * step))
              .k_cache(keyCache.pointer())
              .v_cache(valueCache.pointer())
              .cu_seqlens(ints(cuSeqlens))
              .lengths(ints(lengths));
        },
        graft::graft_kv_append,
        qkv,
        keyCache,
        valueCache,
        cuSeqlens,
        lengths);
  }

  /** One query a sequence, of packed qkv [batch, 3·H·D], against the cache; see graft.h. */
  public void attentionDecode(
      Tensor qkv,
      Tensor keyCache,
      Tensor valueCache,
      Tensor out,
      Tensor lengths,
      int heads,
      int headDim,
      float scale) {
    graft_attention_decode_args args = zeroed(new graft_attention_decode_args());
    args.struct_size(args.sizeof())
        .q_token_stride(3L * heads * headDim)
        .batch(keyCache.size(0))
        .heads(heads)
        .head_dim(headDim)
        .cache_capacity(keyCache.size(2))
        .scale(scale)
        .extra(1)
        .dtype(qkv.dtype().code());
    Tensor workspace =
        workspace(out64 -> graft.graft_attention_decode_workspace(context(), args, out64));
    add(
        "attention_decode",
        args,
        () ->
            args.q(qkv.pointer())
                .k_cache(keyCache.pointer())
                .v_cache(valueCache.pointer())
                .out(out.pointer())
                .lengths(ints(lengths))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_attention_decode,
        qkv,
        keyCache,
        valueCache,
        out,
        lengths,
        workspace);
  }

  // ---- embedding
  // ---------------------------------------------------------------------------------

  /** out [T, C] = tokens[ids] (+ positions[positionIds]) (+ types[typeIds]); tables may be null. */
  public void embedding(
      Tensor ids,
      Tensor positionIds,
      Tensor typeIds,
      Tensor tokenTable,
      Tensor positionTable,
      Tensor typeTable,
      Tensor out) {
    graft_embedding_args args = zeroed(new graft_embedding_args());
    args.struct_size(args.sizeof())
        .tokens(out.size(0))
        .channels(out.size(1))
        .token_rows(tokenTable.size(0))
        .position_rows(positionTable == null ? 0 : positionTable.size(0))
        .type_rows(typeTable == null ? 0 : typeTable.size(0))
        .dtype(out.dtype().code());
    add(
        "embedding",
        args,
        () ->
            args.ids(ints(ids))
                .positions(positionTable == null ? null : ints(positionIds))
                .types(typeTable == null ? null : ints(typeIds))
                .token_table(tokenTable.pointer())
                .position_table(address(positionTable))
                .type_table(address(typeTable))
                .out(out.pointer()),
        graft::graft_embedding_forward,
        ids,
        positionIds,
        typeIds,
        tokenTable,
        positionTable,
        typeTable,
        out);
  }

  /** dtable[ids[t]] += dout[t]; order sorts rows by id, stably. */
  public void embeddingBackward(Tensor ids, Tensor order, Tensor dout, Tensor dtable) {
    graft_embedding_backward_args args = zeroed(new graft_embedding_backward_args());
    args.struct_size(args.sizeof())
        .tokens(dout.size(0))
        .channels(dout.size(1))
        .rows(dtable.size(0))
        .dtype(dout.dtype().code());
    add(
        "embedding_backward",
        args,
        () -> args.ids(ints(ids)).order(ints(order)).dout(dout.pointer()).dtable(floats(dtable)),
        graft::graft_embedding_backward,
        ids,
        order,
        dout,
        dtable);
  }

  // ---- residual + dropout + LayerNorm
  // ------------------------------------------------------------

  /**
   * sum = residual + dropout(x); out = LayerNorm(sum).
   *
   * @param residual [R, C] or null
   * @param sum [R, C]; null if residual is null and dropout 0 (then x is the sum)
   */
  public void addNorm(
      Tensor x,
      Tensor residual,
      Tensor sum,
      Tensor out,
      Tensor gamma,
      Tensor beta,
      Tensor mean,
      Tensor rstd,
      float eps,
      NormDropout dropout) {
    graft_add_norm_args args = zeroed(new graft_add_norm_args());
    args.struct_size(args.sizeof())
        .rows(x.size(0))
        .channels(x.size(1))
        .eps(eps)
        .dropout(dropout.dropout())
        .out_dropout(dropout.outDropout())
        .op_id(dropout.opId())
        .out_op_id(dropout.outOpId())
        .dtype(x.dtype().code());
    add(
        "add_norm",
        args,
        () ->
            args.x(x.pointer())
                .residual(address(residual))
                .sum(address(sum))
                .out(out.pointer())
                .gamma(gamma.pointer())
                .beta(beta.pointer())
                .mean(floats(mean))
                .rstd(floats(rstd)),
        graft::graft_add_norm_forward,
        x,
        residual,
        sum,
        out,
        gamma,
        beta,
        mean,
        rstd);
  }

  /** Gradient of {@link #addNorm}; dsum, dresidual, dx, dgamma, dbeta, dbias may be null. */
  public void addNormBackward(
      Tensor dout,
      Tensor dsum,
      Tensor sum,
      Tensor gamma,
      Tensor mean,
      Tensor rstd,
      Tensor dresidual,
      Tensor dx,
      Tensor dgamma,
      Tensor dbeta,
      Tensor dbias,
      NormDropout dropout) {
    graft_add_norm_backward_args args = zeroed(new graft_add_norm_backward_args());
    args.struct_size(args.sizeof())
        .rows(sum.size(0))
        .channels(sum.size(1))
        .dropout(dropout.dropout())
        .out_dropout(dropout.outDropout())
        .op_id(dropout.opId())
        .out_op_id(dropout.outOpId())
        .dtype(sum.dtype().code());
    Tensor workspace =
        workspace(out -> graft.graft_add_norm_backward_workspace(context(), args, out));
    add(
        "add_norm_backward",
        args,
        () ->
            args.dout(dout.pointer())
                .dsum(address(dsum))
                .sum(sum.pointer())
                .gamma(gamma.pointer())
                .mean(floats(mean))
                .rstd(floats(rstd))
                .dresidual(address(dresidual))
                .dx(address(dx))
                .dgamma(floats(dgamma))
                .dbeta(floats(dbeta))
                .dbias(floats(dbias))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_add_norm_backward,
        dout,
        dsum,
        sum,
        gamma,
        mean,
        rstd,
        dresidual,
        dx,
        dgamma,
        dbeta,
        dbias,
        workspace);
  }

  // ---- activations
  // -------------------------------------------------------------------------------

  /** y = activation(x + bias); bias may be null. */
  public void activation(Activation form, Tensor x, Tensor bias, Tensor y) {
    graft_activation_args args = activationArgs(form, x);
    add(
        "activation",
        args,
        () -> args.x(x.pointer()).bias(address(bias)).y(y.pointer()),
        graft::graft_activation_forward,
        x,
        bias,
        y);
  }

  /** dx = activation'(x + bias) · dy, dbias += column sums of dx; bias and dbias may be null. */
  public void activationBackward(
      Activation form, Tensor x, Tensor bias, Tensor dy, Tensor dx, Tensor dbias) {
    graft_activation_args args = activationArgs(form, x);
    // The query looks at whether a bias gradient is wanted, not at where it lies.
    args.dbias(dbias == null ? null : Address.floats(64));
    Tensor workspace = workspace(out -> graft.graft_activation_workspace(context(), args, out));
    add(
        "activation_backward",
        args,
        () ->
            args.x(x.pointer())
                .bias(address(bias))
                .dy(dy.pointer())
                .dx(dx.pointer())
                .dbias(floats(dbias))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_activation_backward,
        x,
        bias,
        dy,
        dx,
        dbias,
        workspace);
  }

  private static graft_activation_args activationArgs(Activation form, Tensor x) {
    graft_activation_args args = zeroed(new graft_activation_args());
    args.struct_size(args.sizeof())
        .rows(x.size(0))
        .channels(x.size(1))
        .activation(form.code)
        .dtype(x.dtype().code());
    return args;
  }

  // ---- loss
  // --------------------------------------------------------------------------------------

  /**
   * Softmax cross-entropy, and the logits' gradient in their place.
   *
   * @param logits [R, V padded], overwritten with dlogits unless {@code forwardOnly}
   * @param targets int32 [R], −100 ignored
   * @param losses fp32 [R] or null
   * @param slot which loss of the step state grows
   */
  public void classifier(
      Tensor logits,
      Tensor targets,
      Tensor losses,
      long vocabulary,
      int slot,
      boolean forwardOnly) {
    classifier(logits, targets, null, 0, losses, vocabulary, slot, forwardOnly);
  }

  /**
   * As above, with class weights and label smoothing; the mean divides by the weights of the
   * targets, which the step state's loss weight sums.
   *
   * @param weights fp32 [V] at least 0, or null
   * @param labelSmoothing 0 to 1
   */
  public void classifier(
      Tensor logits,
      Tensor targets,
      Tensor weights,
      float labelSmoothing,
      Tensor losses,
      long vocabulary,
      int slot,
      boolean forwardOnly) {
    graft_classifier_args args = zeroed(new graft_classifier_args());
    args.struct_size(args.sizeof())
        .rows(logits.size(0))
        .vocabulary(vocabulary)
        .row_stride(logits.size(1))
        .ignore_index(IGNORED)
        .slot(slot)
        .forward_only(forwardOnly ? 1 : 0)
        .dtype(logits.dtype().code())
        .label_smoothing(labelSmoothing);
    Tensor workspace = workspace(out -> graft.graft_classifier_workspace(context(), args, out));
    add(
        "classifier",
        args,
        () ->
            args.logits(logits.pointer())
                .targets(ints(targets))
                .weights(floats(weights))
                .losses(floats(losses))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_classifier,
        logits,
        targets,
        weights,
        losses,
        workspace);
  }

  /**
   * Softmax cross-entropy over the rows of each segment, for one column of the logits.
   *
   * @param logits [R, K]; its column is overwritten with dlogits unless {@code forwardOnly}
   * @param cuSegments int32 [segments + 1] first row of each
   * @param targets int32 [segments], counted from the segment's first row, −100 ignored
   */
  public void segmentClassifier(
      Tensor logits, int column, Tensor cuSegments, Tensor targets, int slot, boolean forwardOnly) {
    long columns = logits.size(1);
    Tensor first = logits.view(column, logits.size(0) * columns - column);
    graft_segment_classifier_args args = zeroed(new graft_segment_classifier_args());
    args.struct_size(args.sizeof())
        .rows(logits.size(0))
        .segments(targets.size(0))
        .stride(columns)
        .ignore_index(IGNORED)
        .slot(slot)
        .forward_only(forwardOnly ? 1 : 0)
        .dtype(logits.dtype().code());
    Tensor workspace =
        workspace(out -> graft.graft_segment_classifier_workspace(context(), args, out));
    add(
        "segment classifier",
        args,
        () ->
            args.logits(first.pointer())
                .cu_segments(ints(cuSegments))
                .targets(ints(targets))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_segment_classifier,
        logits,
        first,
        cuSegments,
        targets,
        workspace);
  }

  /**
   * Binary cross-entropy of each logit, and its gradient in its place.
   *
   * @param logits [R, K], overwritten unless {@code forwardOnly}
   * @param targets fp32 [R, K] in 0 to 1, −100 ignored
   * @param positiveWeight fp32 [K] or null
   */
  public void binaryCrossEntropy(
      Tensor logits, Tensor targets, Tensor positiveWeight, int slot, boolean forwardOnly) {
    graft_binary_cross_entropy_args args = zeroed(new graft_binary_cross_entropy_args());
    args.struct_size(args.sizeof())
        .rows(logits.size(0))
        .columns(logits.size(1))
        .ignore_value(IGNORED)
        .slot(slot)
        .forward_only(forwardOnly ? 1 : 0)
        .dtype(logits.dtype().code());
    Tensor workspace =
        workspace(out -> graft.graft_binary_cross_entropy_workspace(context(), args, out));
    add(
        "binary cross-entropy",
        args,
        () ->
            args.logits(logits.pointer())
                .targets(floats(targets))
                .positive_weight(floats(positiveWeight))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_binary_cross_entropy,
        logits,
        targets,
        positiveWeight,
        workspace);
  }

  /**
   * Squared error of each prediction, and its gradient in its place.
   *
   * @param predictions [R, K], overwritten unless {@code forwardOnly}
   * @param targets fp32 [R, K], −100 ignored
   */
  public void meanSquaredError(Tensor predictions, Tensor targets, int slot, boolean forwardOnly) {
    graft_mean_squared_error_args args = zeroed(new graft_mean_squared_error_args());
    args.struct_size(args.sizeof())
        .rows(predictions.size(0))
        .columns(predictions.size(1))
        .ignore_value(IGNORED)
        .slot(slot)
        .forward_only(forwardOnly ? 1 : 0)
        .dtype(predictions.dtype().code());
    Tensor workspace =
        workspace(out -> graft.graft_mean_squared_error_workspace(context(), args, out));
    add(
        "mean squared error",
        args,
        () ->
            args.predictions(predictions.pointer())
                .targets(floats(targets))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_mean_squared_error,
        predictions,
        targets,
        workspace);
  }

  // ---- matrix product
  // ----------------------------------------------------------------------------

  /** c = op(a) · op(b) (+ c) (+ bias): see {@link Gemm#prepare}. */
  public void gemm(
      String name,
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor c,
      boolean accumulate,
      Tensor bias) {
    gemm(
        name,
        new Gemm.Product(
            Gemm.Columns.of(a),
            transposeA,
            Gemm.Columns.of(b),
            transposeB,
            Gemm.Columns.of(c),
            accumulate,
            1,
            Epilogue.bias(bias)));
  }

  /**
   * A product with its epilogue where the device does that the faster, else the calls one after the
   * other: see {@link Gemm.Fusing}.
   */
  public void fuse(Fusion fusion) {
    if (fuses(fusion)) {
      fusion.fused(this);
    } else {
      fusion.separate(this);
    }
  }

  private boolean fuses(Fusion fusion) {
    if (program.isPlan()) {
      return false;
    }
    Device device = program.device();
    Gemm gemm = device.gemm();
    return switch (gemm.fusing()) {
      case NEVER -> false;
      case ALWAYS -> FusionTiming.isPossible(device, fusion);
      case TIMED ->
          gemm.choose(
              "choice/" + fusion.product().key(), () -> FusionTiming.measure(device, fusion));
    };
  }

  /** A product of columns of matrices, scaled: see {@link Gemm#prepare(Gemm.Product)}. */
  public void gemm(String name, Gemm.Product product) {
    program.record(
        new Call() {
          private Gemm.Call call;

          @Override
          public String name() {
            return name;
          }

          @Override
          public void bind() {
            close();
            call = program.device().gemm().prepare(product);
          }

          @Override
          public void run() {
            call.run();
          }

          @Override
          public void close() {
            if (call != null) {
              call.close();
              call = null;
            }
          }
        },
        product.a().tensor(),
        product.b().tensor(),
        product.c().tensor(),
        product.epilogue().bias(),
        product.epilogue().before(),
        product.epilogue().sums(),
        product.a().scale(),
        product.b().scale());
  }

  // ---- optimizer
  // ---------------------------------------------------------------------------------

  /** Global gradient norm, clip coefficient and skip flag into the step state. */
  public void gradNorm(ParameterSet parameters, float maxNorm) {
    graft_grad_norm_args args = zeroed(new graft_grad_norm_args());
    args.struct_size(args.sizeof()).parameters(parameters.handle()).max_norm(maxNorm);
    add("grad_norm", args, () -> {}, graft::graft_grad_norm);
  }

  /** One AdamW step over the set, then gradients to zero. */
  public void adamw(ParameterSet parameters, float beta1, float beta2, float eps) {
    graft_adamw_args args = zeroed(new graft_adamw_args());
    args.struct_size(args.sizeof())
        .parameters(parameters.handle())
        .beta1(beta1)
        .beta2(beta2)
        .eps(eps)
        .zero_grad(1);
    add("adamw", args, () -> {}, graft::graft_adamw);
  }

  /** One LAMB step over the set, then gradients to zero. */
  public void lamb(ParameterSet parameters, float beta1, float beta2, float eps) {
    graft_lamb_args args = zeroed(new graft_lamb_args());
    args.struct_size(args.sizeof())
        .parameters(parameters.handle())
        .beta1(beta1)
        .beta2(beta2)
        .eps(eps)
        .zero_grad(1);
    add("lamb", args, () -> {}, graft::graft_lamb);
  }

  // ---- plain ops
  // ---------------------------------------------------------------------------------

  /** next int32 [B] drawn from logits [B, stride]; history [B, n] and its counts may be null. */
  public void sample(
      Tensor logits,
      long vocabulary,
      Tensor history,
      Tensor historyCounts,
      Tensor next,
      Sampling sampling) {
    graft_sample_args args = zeroed(new graft_sample_args());
    args.struct_size(args.sizeof())
        .batch(logits.size(0))
        .vocabulary(vocabulary)
        .row_stride(logits.size(1))
        .history_stride(history == null ? 0 : history.size(1))
        .top_k(sampling.topK())
        .temperature(sampling.temperature())
        .top_p(sampling.topP())
        .repetition_penalty(sampling.repetitionPenalty())
        .op_id(sampling.opId())
        .dtype(logits.dtype().code());
    Tensor workspace = workspace(out -> graft.graft_sample_workspace(context(), args, out));
    add(
        "sample",
        args,
        () ->
            args.logits(logits.pointer())
                .history(ints(history))
                .history_counts(ints(historyCounts))
                .next(ints(next))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_sample,
        logits,
        history,
        historyCounts,
        next,
        workspace);
  }

  /** to = from, converted to its dtype. */
  public void cast(Tensor from, Tensor to) {
    sameCount("cast", from, to);
    graft_cast_args args = zeroed(new graft_cast_args());
    args.struct_size(args.sizeof())
        .count(from.count())
        .from_dtype(from.dtype().code())
        .to_dtype(to.dtype().code());
    add(
        "cast",
        args,
        () -> args.from(from.pointer()).to(to.pointer()),
        graft::graft_cast,
        from,
        to);
  }

  /** out = a + b; out may be a or b. */
  public void add(Tensor a, Tensor b, Tensor out) {
    sameCount("add", a, b);
    sameCount("add", a, out);
    graft_add_args args = zeroed(new graft_add_args());
    args.struct_size(args.sizeof()).count(a.count()).dtype(a.dtype().code());
    add(
        "add",
        args,
        () -> args.a(a.pointer()).b(b.pointer()).out(out.pointer()),
        graft::graft_add,
        a,
        b,
        out);
  }

  /** y = dropout(x), its own backward; y may be x. */
  public void dropout(Tensor x, Tensor y, int dropout, int opId) {
    sameCount("dropout", x, y);
    graft_dropout_args args = zeroed(new graft_dropout_args());
    args.struct_size(args.sizeof())
        .rows(x.size(0))
        .channels(x.size(1))
        .dropout(dropout)
        .op_id(opId)
        .dtype(x.dtype().code());
    add("dropout", args, () -> args.x(x.pointer()).y(y.pointer()), graft::graft_dropout, x, y);
  }

  /** out[n] = in[index[n]], 0 where the index is −1. */
  public void gatherRows(Tensor in, Tensor index, Tensor out) {
    graft_rows_args args = rowsArgs(out, in, false);
    add(
        "gather_rows",
        args,
        () -> args.in(in.pointer()).out(out.pointer()).index(ints(index)),
        graft::graft_gather_rows,
        in,
        index,
        out);
  }

  /** out[index[n]] (+)= in[n]; rows without a source become 0 unless accumulating. */
  public void scatterRows(Tensor in, Tensor index, Tensor out, boolean accumulate) {
    graft_rows_args args = rowsArgs(in, out, accumulate);
    add(
        "scatter_rows",
        args,
        () -> args.in(in.pointer()).out(out.pointer()).index(ints(index)),
        graft::graft_scatter_rows,
        in,
        index,
        out);
  }

  private static graft_rows_args rowsArgs(Tensor few, Tensor all, boolean accumulate) {
    graft_rows_args args = zeroed(new graft_rows_args());
    args.struct_size(args.sizeof())
        .count(few.size(0))
        .source_rows(all.size(0))
        .channels(few.size(1))
        .accumulate(accumulate ? 1 : 0)
        .dtype(few.dtype().code());
    return args;
  }

  /**
   * 8-bit floats of a matrix, and the power of two they are to be multiplied by: see
   * graft_quantize.
   *
   * @param x [R, C]
   * @param y [R, C], or null
   * @param transposed [C, R], or null; dtype of y
   * @param scale fp32 [1]
   */
  public void quantize(Tensor x, Tensor y, Tensor transposed, Tensor scale) {
    graft_quantize_args args = zeroed(new graft_quantize_args());
    args.struct_size(args.sizeof())
        .rows(x.size(0))
        .channels(x.size(1))
        .dtype(x.dtype().code())
        .to_dtype((y == null ? transposed : y).dtype().code());
    Tensor workspace = workspace(bytes -> graft.graft_quantize_workspace(context(), args, bytes));
    add(
        "quantize",
        args,
        () ->
            args.x(x.pointer())
                .y(address(y))
                .transposed(address(transposed))
                .scale(floats(scale))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_quantize,
        x,
        y,
        transposed,
        scale,
        workspace);
  }

  /** out fp32 [C] += column sums of x [R, C]. */
  public void columnSum(Tensor x, Tensor out) {
    graft_column_sum_args args = zeroed(new graft_column_sum_args());
    args.struct_size(args.sizeof()).rows(x.size(0)).channels(x.size(1)).dtype(x.dtype().code());
    Tensor workspace = workspace(bytes -> graft.graft_column_sum_workspace(context(), args, bytes));
    add(
        "column_sum",
        args,
        () ->
            args.x(x.pointer())
                .out(floats(out))
                .workspace(address(workspace))
                .workspace_bytes(bytes(workspace)),
        graft::graft_column_sum,
        x,
        out,
        workspace);
  }

  /** Fills a tensor with N(mean, std) at once, outside of any program. */
  public static void fillNormal(
      Device device, Tensor out, long seed, int stream, float mean, float std) {
    fill(device, out, seed, stream, 0, mean, std);
  }

  /** Fills a tensor with U[low, high) at once, outside of any program. */
  public static void fillUniform(
      Device device, Tensor out, long seed, int stream, float low, float high) {
    fill(device, out, seed, stream, 1, low, high);
  }

  private static void fill(
      Device device, Tensor out, long seed, int stream, int kind, float a, float b) {
    try (graft_random_args args = zeroed(new graft_random_args())) {
      args.struct_size(args.sizeof()).out(out.pointer()).count(out.count()).seed(seed).stream(
              stream)
          .kind(kind)
          .dtype(out.dtype().code())
          .a(a)
          .b(b);
      Status.check(graft.graft_random(device.context(), args));
    }
  }

  /** Converts at once, outside of any program. */
  public static void castNow(Device device, Tensor from, Tensor to) {
    sameCount("cast", from, to);
    try (graft_cast_args args = zeroed(new graft_cast_args())) {
      args.struct_size(args.sizeof())
          .from(from.pointer())
          .to(to.pointer())
          .count(from.count())
          .from_dtype(from.dtype().code())
          .to_dtype(to.dtype().code());
      Status.check(graft.graft_cast(device.context(), args));
    }
  }

  // ---- recording
  // ---------------------------------------------------------------------------------

  /** A native op on one argument struct. */
  private interface NativeOp<A> {
    int run(graft_context context, A args);
  }

  private <A extends Pointer> void add(
      String name, A args, Runnable bind, NativeOp<A> op, Tensor... touched) {
    graft_context context = context();
    IntSupplier invoke = () -> op.run(context, args);
    program.record(
        new Call() {
          @Override
          public String name() {
            return name;
          }

          @Override
          public void bind() {
            bind.run();
          }

          @Override
          public void run() {
            int status = invoke.getAsInt();
            if (status != graft.GRAFT_OK) {
              Status.check(status);
            }
          }

          @Override
          public void close() {
            args.close();
          }
        },
        touched);
  }

  private graft_context context() {
    return program.device().context();
  }

  private Tensor workspace(ToIntFunction<LongPointer> query) {
    try (LongPointer bytes = new LongPointer(1)) {
      bytes.put(0);
      Status.check(query.applyAsInt(bytes));
      long needed = bytes.get();
      return needed == 0 ? null : program.activation("workspace", DType.FLOAT32, (needed + 3) / 4);
    }
  }

  private static <A extends Pointer> A zeroed(A args) {
    Pointer.memset(args, 0, args.sizeof());
    return args;
  }

  private static Pointer address(Tensor tensor) {
    return tensor == null ? null : tensor.pointer();
  }

  private static long bytes(Tensor tensor) {
    return tensor == null ? 0 : tensor.byteSize();
  }

  private static FloatPointer floats(Tensor tensor) {
    return tensor == null ? null : Address.floats(tensor.address());
  }

  private static IntPointer ints(Tensor tensor) {
    return tensor == null ? null : Address.ints(tensor.address());
  }

  private static void sameCount(String op, Tensor a, Tensor b) {
    if (a.count() != b.count()) {
      throw new IllegalArgumentException(op + ": expected as many elements in " + a + " and " + b);
    }
  }
}
