package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_adamw_args;
import dev.graft.bindings.graft_grad_norm_args;
import dev.graft.bindings.graft_parameter;
import dev.graft.bindings.graft_parameter_set;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * AdamW over several tensors, with or without the global gradient norm and clip, against libtorch's
 * AdamW. fp32 steps fp32 weights; bf16 also writes the bf16 copy that the next forward pass reads,
 * where libtorch steps fp32 master weights and copies them to bf16.
 */
public final class AdamWCase extends KernelCase {
  private static final float LR = 0.01f;
  private static final double BETA1 = 0.9;
  private static final double BETA2 = 0.99;
  private static final double EPS = 1e-8;
  private static final double DECAY = 0.1;
  private final int[] sizes;
  private final int steps;
  private final boolean clip;
  private final double[][] weights;
  private final double[][] gradients;
  private final Tensor[] weight;
  private final Tensor[] weight16;
  private final Tensor[] grad;
  private final Tensor[] m;
  private final Tensor[] v;
  private final graft_adamw_args args = zeroed(new graft_adamw_args());
  private final graft_grad_norm_args norm = zeroed(new graft_grad_norm_args());
  private final graft_parameter_set set;
  private AdamW torchOptimizer;
  private Tensor[] torchWeights;
  private Tensor[] torchCopies;

  /** {@code steps} is how many steps the compared results have made. */
  public AdamWCase(Device device, int dtype, int[] sizes, int steps, boolean clip) {
    super(device, dtype);
    this.sizes = sizes;
    this.steps = steps;
    this.clip = clip;
    int n = sizes.length;
    weights = new double[n][];
    gradients = new double[n][];
    weight = new Tensor[n];
    weight16 = new Tensor[n];
    grad = new Tensor[n];
    m = new Tensor[n];
    v = new Tensor[n];
    try (graft_parameter list = new graft_parameter(n);
        PointerPointer<graft_parameter_set> out = new PointerPointer<>(1)) {
      Pointer.memset(list, 0, (long) n * list.sizeof());
      for (int i = 0; i < n; i++) {
        weights[i] = Torch.normal(2 * i, sizes[i], 1, Torch.F32);
        gradients[i] = Torch.normal(2 * i + 1, sizes[i], 1, Torch.F32);
        weight[i] = Torch.of(weights[i], Torch.F32, sizes[i]);
        weight16[i] = type == Torch.BF16 ? Torch.of(weights[i], Torch.BF16, sizes[i]) : null;
        grad[i] = Torch.of(gradients[i], Torch.F32, sizes[i]);
        m[i] = Torch.zeros(Torch.F32, sizes[i]);
        v[i] = Torch.zeros(Torch.F32, sizes[i]);
        list.position(i)
            .grad(new FloatPointer(grad[i].data_ptr()))
            .weight(new FloatPointer(weight[i].data_ptr()))
            .weight16(weight16[i] == null ? null : weight16[i].data_ptr())
            .m(new FloatPointer(m[i].data_ptr()))
            .v(new FloatPointer(v[i].data_ptr()))
            .count(sizes[i])
            .weight_decay((float) DECAY)
            .lr_scale(1);
      }
      list.position(0);
      Status.check(graft.graft_parameter_set_create(context, list, n, out));
      set = out.get(graft_parameter_set.class);
    }
    args.struct_size(args.sizeof())
        .parameters(set)
        .beta1((float) BETA1)
        .beta2((float) BETA2)
        .eps((float) EPS)
        .zero_grad(0);
    norm.struct_size(norm.sizeof()).parameters(set).max_norm(clip ? 1 : 0);
  }

  private long count() {
    long total = 0;
    for (int size : sizes) {
      total += size;
    }
    return total;
  }

  @Override
  public String op() {
    return clip ? "adamw+clip" : "adamw";
  }

  @Override
  public String shape() {
    return String.format("%d parameters in %d tensors", count(), sizes.length);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    // The optimizer's state is fp32 whatever the model's dtype; only the copy is rounded.
    ScalarType at = precision == Torch.F64 ? Torch.F64 : Torch.F32;
    TensorVector parameters = new TensorVector();
    Tensor[] leaves = new Tensor[sizes.length];
    for (int i = 0; i < sizes.length; i++) {
      leaves[i] = Torch.leaf(weights[i], at, sizes[i]);
      parameters.push_back(leaves[i]);
    }
    AdamW optimizer = optimizer(parameters);
    double scale = 1;
    if (clip) {
      double square = 0;
      for (double[] values : gradients) {
        for (double g : values) {
          square += g * g;
        }
      }
      scale = Math.min(1, 1 / Math.sqrt(square));
    }
    for (int s = 0; s < steps; s++) {
      for (int i = 0; i < sizes.length; i++) {
        leaves[i].mutable_grad().put(Torch.of(gradients[i], at, sizes[i]).mul(Torch.scalar(scale)));
      }
      optimizer.step();
    }
    Map<String, double[]> results = new LinkedHashMap<>();
    for (int i = 0; i < sizes.length; i++) {
      results.put("weight" + i, Torch.values(leaves[i]));
      if (weight16[i] != null) {
        Tensor rounded = precision == Torch.F64 ? leaves[i] : leaves[i].to(Torch.BF16);
        results.put("copy" + i, Torch.values(rounded));
      }
    }
    return results;
  }

  private static AdamW optimizer(TensorVector parameters) {
    AdamWOptions options = new AdamWOptions(LR);
    options.betas().put(0, BETA1).put(1, BETA2);
    options.eps().put(EPS);
    options.weight_decay().put(DECAY);
    return new AdamW(parameters, options);
  }

  @Override
  public Map<String, double[]> results() {
    for (int i = 0; i < sizes.length; i++) {
      weight[i].copy_(Torch.of(weights[i], Torch.F32, sizes[i]));
      m[i].zero_();
      v[i].zero_();
    }
    device.restore(0, 0);
    for (int s = 0; s < steps; s++) {
      runGraft();
    }
    Map<String, double[]> results = new LinkedHashMap<>();
    for (int i = 0; i < sizes.length; i++) {
      results.put("weight" + i, Torch.values(weight[i]));
      if (weight16[i] != null) {
        results.put("copy" + i, Torch.values(weight16[i]));
      }
    }
    return results;
  }

  @Override
  public void runGraft() {
    step(LR, 1);
    check(graft.graft_grad_norm(context, norm));
    check(graft.graft_adamw(context, args));
  }

  @Override
  public void prepareTorch() {
    TensorVector parameters = new TensorVector();
    torchWeights = new Tensor[sizes.length];
    torchCopies = new Tensor[sizes.length];
    for (int i = 0; i < sizes.length; i++) {
      torchWeights[i] = Torch.leaf(weights[i], Torch.F32, sizes[i]);
      torchWeights[i].mutable_grad().put(Torch.of(gradients[i], Torch.F32, sizes[i]));
      torchCopies[i] = Torch.zeros(type, sizes[i]);
      parameters.push_back(torchWeights[i]);
    }
    torchOptimizer = optimizer(parameters);
    // Its moments are made in the first step and have to outlive the scope of a timed run.
    torchOptimizer.step();
  }

  @Override
  public ObjectNode pytorch() {
    if (!clip) {
      return null;
    }
    ObjectNode peer = Json.object().put("op", "adamw");
    ArrayNode counts = peer.putArray("sizes");
    Arrays.stream(sizes).forEach(counts::add);
    return peer;
  }

  @Override
  public void runTorch() {
    // The norm is part of Graft's step (it decides whether to skip), so it is part of libtorch's.
    double square = 0;
    for (Tensor leaf : torchWeights) {
      double one = leaf.grad().norm().item_float();
      square += one * one;
    }
    if (clip && square > 1) {
      for (Tensor leaf : torchWeights) {
        leaf.grad().mul_(Torch.scalar(1 / Math.sqrt(square)));
      }
    }
    torchOptimizer.step();
    if (type == Torch.BF16) {
      for (int i = 0; i < sizes.length; i++) {
        torchCopies[i].copy_(torchWeights[i].detach());
      }
    }
  }

  /** Read gradient twice (norm, step), weight, m, v; write weight, m, v and the bf16 copy. */
  @Override
  public double bytes() {
    return count() * (type == Torch.BF16 ? 34.0 : 32.0);
  }

  @Override
  public void close() {
    graft.graft_parameter_set_destroy(context, set);
    args.close();
    norm.close();
  }
}
