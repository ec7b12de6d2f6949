package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_activation_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Bias + GELU (both forms), tanh or ReLU against libtorch's add and activation. */
public final class ActivationCase extends KernelCase {
  private final long rows;
  private final long channels;
  private final int form;
  private final boolean backward;
  private final double[] x;
  private final double[] bias;
  private final double[] dy;
  private final Tensor tx;
  private final Tensor tbias;
  private final Tensor tdy;
  private final Tensor y;
  private final Tensor dx;
  private final Tensor dbias;
  private final Tensor space;
  private final graft_activation_args args = zeroed(new graft_activation_args());

  public ActivationCase(
      Device device, int dtype, long rows, long channels, int form, boolean backward) {
    super(device, dtype);
    this.rows = rows;
    this.channels = channels;
    this.form = form;
    this.backward = backward;
    x = Torch.normal(1, rows * channels, 2, type);
    bias = Torch.normal(2, channels, 1, type);
    dy = Torch.normal(3, rows * channels, 1, type);
    tx = Torch.of(x, type, rows, channels);
    tbias = Torch.of(bias, type, channels);
    tdy = Torch.of(dy, type, rows, channels);
    y = Torch.zeros(type, rows, channels);
    dx = Torch.zeros(type, rows, channels);
    dbias = Torch.zeros(Torch.F32, channels);
    args.struct_size(args.sizeof())
        .x(Torch.address(tx))
        .bias(Torch.address(tbias))
        .y(Torch.address(y))
        .dy(Torch.address(tdy))
        .dx(Torch.address(dx))
        .dbias(new FloatPointer(dbias.data_ptr()))
        .rows(rows)
        .channels(channels)
        .activation(form)
        .dtype(dtype);
    try (LongPointer bytes = new LongPointer(1)) {
      check(graft.graft_activation_workspace(context, args, bytes));
      space = workspace(bytes.get());
    }
    args.workspace(space.data_ptr()).workspace_bytes(space.numel() * 4);
  }

  private String form() {
    return switch (form) {
      case graft.GRAFT_GELU_TANH -> "bias+gelu tanh";
      case graft.GRAFT_GELU_ERF -> "bias+gelu erf";
      case graft.GRAFT_TANH -> "bias+tanh";
      default -> "bias+relu";
    };
  }

  @Override
  public String op() {
    return form() + (backward ? " forward+backward" : " forward");
  }

  @Override
  public String shape() {
    return rows + "x" + channels;
  }

  private Tensor torchForward(Tensor in, Tensor b) {
    Tensor u = in.add(b);
    return switch (form) {
      case graft.GRAFT_GELU_TANH -> torch.gelu(u, "tanh");
      case graft.GRAFT_GELU_ERF -> torch.gelu(u, "none");
      case graft.GRAFT_TANH -> u.tanh();
      default -> u.relu();
    };
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor rx = Torch.leaf(x, precision, rows, channels);
    Tensor rb = Torch.leaf(bias, precision, channels);
    Tensor ry = torchForward(rx, rb);
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("y", Torch.values(ry));
    if (backward) {
      ry.mul(Torch.of(dy, precision, rows, channels)).sum().backward();
      results.put("dx", Torch.values(rx.grad()));
      results.put("dbias", Torch.values(rb.grad()));
    }
    return results;
  }

  @Override
  public Map<String, double[]> results() {
    dbias.zero_();
    runGraft();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("y", Torch.values(y));
    if (backward) {
      results.put("dx", Torch.values(dx));
      results.put("dbias", Torch.values(dbias));
    }
    return results;
  }

  @Override
  public void runGraft() {
    check(graft.graft_activation_forward(context, args));
    if (backward) {
      check(graft.graft_activation_backward(context, args));
    }
  }

  @Override
  public ObjectNode pytorch() {
    return form == graft.GRAFT_GELU_TANH || form == graft.GRAFT_GELU_ERF
        ? Json.object()
            .put("op", "activation")
            .put("rows", rows)
            .put("channels", channels)
            .put("form", form == graft.GRAFT_GELU_TANH ? "tanh" : "erf")
            .put("backward", backward)
        : null;
  }

  @Override
  public void runTorch() {
    if (backward) {
      Tensor rx = tx.detach().set_requires_grad(true);
      Tensor rb = tbias.detach().set_requires_grad(true);
      torchForward(rx, rb).backward(tdy, new BoolOptional(), false, new TensorArrayRefOptional());
    } else {
      try (NoGradGuard guard = new NoGradGuard()) {
        torchForward(tx, tbias);
      }
    }
  }

  @Override
  public double bytes() {
    return (backward ? 5.0 : 2.0) * rows * channels * elementBytes();
  }

  @Override
  public void close() {
    args.close();
  }
}
