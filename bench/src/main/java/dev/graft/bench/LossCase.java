package dev.graft.bench;

import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_binary_cross_entropy_args;
import dev.graft.bindings.graft_mean_squared_error_args;
import dev.graft.bindings.graft_segment_classifier_args;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The small losses with their gradient in place, against libtorch's (sum) and their backward. */
public final class LossCase extends KernelCase {
  /** Which loss. */
  public enum Kind {
    /** Softmax over the rows of segments of {@code columns} rows. */
    SEGMENTS,
    /** With a positive weight a column. */
    BINARY,
    SQUARED
  }

  private static final float SCALE = 0.125f;
  private static final int SUM = 2;

  private final Kind kind;
  private final long rows;
  private final long columns;
  private final double[] values;
  private final Tensor given;
  private final Tensor work;
  private final Tensor targets;
  private final Tensor weights;
  private final Tensor space;
  private final IntPointer cuSegments;
  private final IntPointer labels;
  private final Tensor wideLabels;

  public LossCase(Device device, int dtype, Kind kind, long rows, long columns) {
    super(device, dtype);
    this.kind = kind;
    this.rows = rows;
    this.columns = columns;
    int count = Math.toIntExact(rows * columns);
    values = Torch.normal(1, count, 3, type);
    given = Torch.of(values, type, rows, columns);
    work = given.clone();
    Philox random = new Philox(2, 0, 0);
    // Exact in bf16, so that both sides read the same.
    double[] wanted = new double[count];
    for (int i = 0; i < count; i++) {
      wanted[i] = kind == Kind.SQUARED ? random.nextInt(64) / 8.0 : random.nextInt(5) / 4.0;
    }
    targets = Torch.of(wanted, Torch.F32, rows, columns);
    double[] positive = new double[Math.toIntExact(columns)];
    int[] starts = new int[Math.toIntExact(rows) + 1];
    int[] which = new int[Math.toIntExact(rows)];
    long[] wide = new long[which.length];
    for (int c = 0; c < positive.length; c++) {
      positive[c] = (1 + random.nextInt(16)) / 4.0;
    }
    for (int r = 0; r < which.length; r++) {
      starts[r + 1] = starts[r] + positive.length;
      which[r] = random.nextInt(positive.length);
      wide[r] = which[r];
    }
    weights = Torch.of(positive, Torch.F32, columns);
    cuSegments = new IntPointer(starts);
    labels = new IntPointer(which);
    wideLabels = Tensor.create(wide, rows);
    space = workspace(8 * rows);
  }

  @Override
  public String op() {
    return kind + " loss forward+backward";
  }

  @Override
  public String shape() {
    return rows + "x" + columns;
  }

  private Tensor loss(Tensor x) {
    ScalarType as = x.scalar_type();
    return switch (kind) {
      case SEGMENTS -> torch.cross_entropy_loss(x, wideLabels, new TensorOptional(), SUM, -100, 0);
      case BINARY ->
          torch.binary_cross_entropy_with_logits(
              x, targets.to(as), new TensorOptional(), new TensorOptional(weights.to(as)), SUM);
      case SQUARED -> torch.mse_loss(x, targets.to(as), SUM);
    };
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor x = Torch.leaf(values, precision, rows, columns);
    Tensor total = loss(x);
    total.mul(Torch.scalar(SCALE)).backward();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("loss", Torch.values(total));
    results.put("dlogits", Torch.values(x.grad()));
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
    results.put("dlogits", Torch.values(work));
    return results;
  }

  @Override
  public void runGraft() {
    step(0, SCALE);
    switch (kind) {
      case SEGMENTS -> segments();
      case BINARY -> binary();
      case SQUARED -> squared();
    }
  }

  private void segments() {
    try (graft_segment_classifier_args args = zeroed(new graft_segment_classifier_args())) {
      args.struct_size(args.sizeof())
          .logits(Torch.address(work))
          .cu_segments(cuSegments)
          .targets(labels)
          .workspace(space.data_ptr())
          .workspace_bytes(8 * rows)
          .rows(rows * columns)
          .segments(rows)
          .stride(1)
          .ignore_index(-100)
          .dtype(dtype);
      check(graft.graft_segment_classifier(context, args));
    }
  }

  private void binary() {
    try (graft_binary_cross_entropy_args args = zeroed(new graft_binary_cross_entropy_args())) {
      args.struct_size(args.sizeof())
          .logits(Torch.address(work))
          .targets(new FloatPointer(targets.data_ptr()))
          .positive_weight(new FloatPointer(weights.data_ptr()))
          .workspace(space.data_ptr())
          .workspace_bytes(8 * rows)
          .rows(rows)
          .columns(columns)
          .ignore_value(-100)
          .dtype(dtype);
      check(graft.graft_binary_cross_entropy(context, args));
    }
  }

  private void squared() {
    try (graft_mean_squared_error_args args = zeroed(new graft_mean_squared_error_args())) {
      args.struct_size(args.sizeof())
          .predictions(Torch.address(work))
          .targets(new FloatPointer(targets.data_ptr()))
          .workspace(space.data_ptr())
          .workspace_bytes(8 * rows)
          .rows(rows)
          .columns(columns)
          .ignore_value(-100)
          .dtype(dtype);
      check(graft.graft_mean_squared_error(context, args));
    }
  }

  @Override
  public void runTorch() {
    Tensor x = given.detach().set_requires_grad(true);
    loss(x).mul(Torch.scalar(SCALE)).backward();
  }

  @Override
  public double bytes() {
    return 2.0 * rows * columns * elementBytes();
  }

  @Override
  public void close() {
    cuSegments.close();
    labels.close();
  }
}
