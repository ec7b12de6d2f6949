package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_classifier_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Softmax cross-entropy with dlogits in place, some rows ignored, the row stride wider than the
 * vocabulary, with class weights and label smoothing if asked; against libtorch's
 * cross_entropy_loss (sum) and its backward.
 */
public final class ClassifierCase extends KernelCase {
  private static final float SCALE = 0.125f;
  private final long rows;
  private final long vocabulary;
  private final long stride;
  private final double[] logits;
  private final int[] targets;
  private final Tensor given;
  private final Tensor work;
  private final Tensor losses;
  private final Tensor torchTargets;
  private final Tensor space;
  private final IntPointer targetPointer;
  private final Tensor weights;
  private final double smoothing;
  private final graft_classifier_args args = zeroed(new graft_classifier_args());

  public ClassifierCase(Device device, int dtype, long rows, long vocabulary, double ignored) {
    this(device, dtype, rows, vocabulary, ignored, false, 0);
  }

  /** With class weights, 0 among them, and label smoothing. */
  public ClassifierCase(
      Device device,
      int dtype,
      long rows,
      long vocabulary,
      double ignored,
      boolean weighted,
      double smoothing) {
    super(device, dtype);
    this.smoothing = smoothing;
    this.rows = rows;
    this.vocabulary = vocabulary;
    this.stride = (vocabulary + 63) / 64 * 64;
    logits = Torch.normal(1, rows * vocabulary, 3, type);
    targets = new int[Math.toIntExact(rows)];
    long[] wide = new long[targets.length];
    Philox random = new Philox(2, 0, 0);
    for (int r = 0; r < targets.length; r++) {
      targets[r] =
          random.nextDouble() < ignored ? -100 : random.nextInt(Math.toIntExact(vocabulary));
      wide[r] = targets[r];
    }
    torchTargets = Tensor.create(wide, rows);
    double[] padded = new double[Math.toIntExact(rows * stride)];
    for (int r = 0; r < rows; r++) {
      System.arraycopy(
          logits,
          Math.toIntExact(r * vocabulary),
          padded,
          Math.toIntExact(r * stride),
          Math.toIntExact(vocabulary));
    }
    given = Torch.of(padded, type, rows, stride);
    work = given.clone();
    losses = Torch.zeros(Torch.F32, rows);
    double[] classWeights = new double[Math.toIntExact(vocabulary)];
    for (int v = 0; v < classWeights.length; v++) {
      classWeights[v] = random.nextInt(13) / 4.0; // exact in bf16
    }
    weights = weighted ? Torch.of(classWeights, Torch.F32, vocabulary) : null;
    targetPointer = new IntPointer(targets);
    args.struct_size(args.sizeof())
        .logits(Torch.address(work))
        .targets(targetPointer)
        .losses(rows == 0 ? null : new FloatPointer(losses.data_ptr()))
        .rows(rows)
        .vocabulary(vocabulary)
        .row_stride(stride)
        .ignore_index(-100)
        .slot(0)
        .dtype(dtype)
        .label_smoothing((float) smoothing);
    if (weighted) {
      args.weights(new FloatPointer(weights.data_ptr()));
    }
    try (LongPointer bytes = new LongPointer(1)) {
      check(graft.graft_classifier_workspace(context, args, bytes));
      space = workspace(bytes.get());
    }
    args.workspace(space.data_ptr()).workspace_bytes(space.numel() * 4);
  }

  @Override
  public String op() {
    return "classifier forward+backward";
  }

  @Override
  public String shape() {
    return rows + "x" + vocabulary;
  }

  private Tensor loss(Tensor x) {
    return loss(x, 2);
  }

  private Tensor loss(Tensor x, int reduction) {
    TensorOptional classWeights =
        weights == null ? new TensorOptional() : new TensorOptional(weights.to(x.scalar_type()));
    // What graft takes is a float.
    return torch.cross_entropy_loss(
        x, torchTargets, classWeights, reduction, -100, (float) smoothing);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor x = Torch.leaf(logits, precision, rows, vocabulary);
    Tensor total = loss(x);
    total.mul(Torch.scalar(SCALE)).backward();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("loss", Torch.values(total));
    results.put("dlogits", Torch.values(x.grad()));
    results.put("losses", Torch.values(loss(x.detach(), 0)));
    return results;
  }

  @Override
  public Map<String, double[]> results() {
    work.copy_(given);
    device.lossReset();
    runGraft();
    device.stepRead();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("loss", new double[] {device.lossSum(0)});
    double[] padded = Torch.values(work);
    double[] cut = new double[logits.length];
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < stride; c++) {
        double value = padded[Math.toIntExact(r * stride + c)];
        if (c < vocabulary) {
          cut[Math.toIntExact(r * vocabulary + c)] = value;
        } else if (value != 0) {
          throw new AssertionError("dlogits outside the vocabulary: " + value);
        }
      }
    }
    results.put("dlogits", cut);
    results.put("losses", Torch.values(losses));
    return results;
  }

  /** Works in place: timed runs after the first see dlogits as logits, which costs the same. */
  @Override
  public void runGraft() {
    step(0, SCALE);
    check(graft.graft_classifier(context, args));
  }

  @Override
  public ObjectNode pytorch() {
    return weights != null || smoothing > 0
        ? null
        : Json.object().put("op", "classifier").put("rows", rows).put("vocabulary", vocabulary);
  }

  @Override
  public void runTorch() {
    Tensor x = given.detach().set_requires_grad(true);
    Tensor cut = stride == vocabulary ? x : x.narrow(1, 0, vocabulary);
    loss(cut).mul(Torch.scalar(SCALE)).backward();
  }

  @Override
  public double bytes() {
    return 2.0 * rows * stride * elementBytes();
  }

  @Override
  public void close() {
    args.close();
    targetPointer.close();
  }
}
