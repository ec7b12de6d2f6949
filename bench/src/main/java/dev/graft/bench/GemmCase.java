package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Gemm;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** x · Wᵀ + b through Graft's Gemm (oneDNN) against libtorch's linear. */
public final class GemmCase extends KernelCase {
  private final int m;
  private final int n;
  private final int k;
  private final double[] x;
  private final double[] w;
  private final double[] bias;
  private final Tensor tx;
  private final Tensor tw;
  private final Tensor tbias;
  private final Arena arena;
  private final dev.graft.runtime.Tensor out;
  private final Gemm.Call call;

  public GemmCase(Device device, int dtype, int m, int n, int k) {
    super(device, dtype);
    this.m = m;
    this.n = n;
    this.k = k;
    x = Torch.normal(1, (long) m * k, 1, type);
    w = Torch.normal(2, (long) n * k, 1, type);
    bias = Torch.normal(3, n, 1, type);
    tx = Torch.of(x, type, m, k);
    tw = Torch.of(w, type, n, k);
    tbias = Torch.of(bias, type, n);
    arena = new Arena(device, "gemm case");
    DType own = type == Torch.BF16 ? DType.BFLOAT16 : DType.FLOAT32;
    dev.graft.runtime.Tensor gx = filled("x", own, x, m, k);
    dev.graft.runtime.Tensor gw = filled("w", own, w, n, k);
    dev.graft.runtime.Tensor gb = filled("bias", own, bias, n);
    out = arena.zeros("out", own, m, n);
    call = device.gemm().prepare(gx, false, gw, true, out, false, gb);
  }

  private dev.graft.runtime.Tensor filled(
      String name, DType dtype, double[] values, long... shape) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    dev.graft.runtime.Tensor tensor = arena.zeros(name, dtype, shape);
    tensor.put(0, floats);
    return tensor;
  }

  @Override
  public String op() {
    return "gemm";
  }

  @Override
  public String shape() {
    return String.format("M%d N%d K%d", m, n, k);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    return Map.of(
        "out",
        Torch.values(
            torch.linear(
                Torch.of(x, precision, m, k),
                Torch.of(w, precision, n, k),
                new TensorOptional(Torch.of(bias, precision, n)))));
  }

  @Override
  public Map<String, double[]> results() {
    runGraft();
    float[] floats = out.floats();
    double[] values = new double[floats.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = floats[i];
    }
    return Map.of("out", values);
  }

  @Override
  public void runGraft() {
    call.run();
  }

  @Override
  public ObjectNode pytorch() {
    return Json.object().put("op", "gemm").put("m", m).put("n", n).put("k", k);
  }

  @Override
  public void runTorch() {
    try (NoGradGuard guard = new NoGradGuard()) {
      torch.linear(tx, tw, new TensorOptional(tbias));
    }
  }

  @Override
  public double flops() {
    return 2.0 * m * n * k;
  }

  @Override
  public void close() {
    call.close();
    arena.close();
  }
}
