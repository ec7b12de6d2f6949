package dev.graft.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.Reduction;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Oracle: libtorch's autograd in double, and the architecture's rule: an error of at most twice
 * that of libtorch at the same dtype, and two units in the last place.
 */
class FusedOpsTest {
  private PointerScope scope;
  private Device device;

  @BeforeEach
  void open() {
    scope = new PointerScope();
    device = Device.cpu(2);
    torch.manual_seed(7);
  }

  @AfterEach
  void close() {
    device.close();
    scope.close();
  }

  private static Tensor random(DType dtype, long... shape) {
    return torch.randn(shape).to(TorchTensors.scalarType(dtype));
  }

  private static Tensor leaf(Tensor values, ScalarType type) {
    return values.detach().to(type).contiguous().set_requires_grad(true);
  }

  private static double largest(Tensor tensor) {
    return tensor.numel() == 0 ? 0 : tensor.abs().max().item_double();
  }

  /** The rule, for one tensor. */
  private static void assertRule(
      String name, Tensor own, Tensor reference, Tensor exact, DType dtype) {
    assertThat(Arguments.shape(own)).as(name).isEqualTo(Arguments.shape(exact));
    double ulp =
        Math.scalb(1.0, Math.getExponent(largest(exact)) - (dtype == DType.FLOAT32 ? 23 : 7));
    double error = largest(own.to(ScalarType.Double).sub(exact));
    double theirs = largest(reference.to(ScalarType.Double).sub(exact));
    assertThat(error)
        .as(name + ", libtorch is off by " + theirs)
        .isLessThanOrEqualTo(2 * theirs + 2 * ulp);
  }

  // ---- attention

  private enum Form {
    CONTIGUOUS,
    TRANSPOSED,
    PACKED
  }

  /** q, k and v [B, H, T, D] in a form. */
  private static Tensor[] operands(Form form, DType dtype, long b, long h, long t, long d) {
    Tensor[] three = new Tensor[3];
    Tensor packed = random(dtype, b, t, 3, h, d);
    for (int i = 0; i < 3; i++) {
      three[i] =
          switch (form) {
            case CONTIGUOUS -> random(dtype, b, h, t, d);
            case TRANSPOSED -> random(dtype, b, t, h, d).transpose(1, 2);
            case PACKED -> packed.select(2, i).transpose(1, 2);
          };
    }
    return three;
  }

  private static List<Tensor> sdpa(Tensor[] given, Tensor dout, boolean causal, ScalarType type) {
    List<Tensor> leaves = new ArrayList<>();
    for (Tensor one : given) {
      leaves.add(leaf(one, type));
    }
    Tensor out =
        torch.scaled_dot_product_attention(
            leaves.get(0),
            leaves.get(1),
            leaves.get(2),
            new TensorOptional(),
            0,
            causal,
            new DoubleOptional(),
            false);
    out.mul(dout.to(type)).sum().backward();
    return List.of(out, leaves.get(0).grad(), leaves.get(1).grad(), leaves.get(2).grad());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void attention_inEveryLayout_equalsScaledDotProductAttention(DType dtype) {
    for (Form form : Form.values()) {
      for (boolean causal : new boolean[] {false, true}) {
        Tensor[] given = operands(form, dtype, 2, 3, 37, 16);
        Tensor dout =
            form == Form.CONTIGUOUS
                ? random(dtype, 2, 3, 37, 16)
                : random(dtype, 2, 37, 3, 16).transpose(1, 2);
        List<Tensor> exact = sdpa(given, dout, causal, ScalarType.Double);
        List<Tensor> theirs = sdpa(given, dout, causal, TorchTensors.scalarType(dtype));
        try (FusedAttention attention = new FusedAttention(device)) {
          FusedAttention.Result result = attention.forward(given[0], given[1], given[2], causal);
          FusedAttention.Gradients gradients = attention.backward(result, dout);
          List<Tensor> own = List.of(result.out(), gradients.dq(), gradients.dk(), gradients.dv());
          for (int i = 0; i < own.size(); i++) {
            String name = form + " " + causal + " " + List.of("out", "dq", "dk", "dv").get(i);
            assertRule(name, own.get(i), theirs.get(i), exact.get(i), dtype);
          }
          // As a model goes on: out.transpose(1, 2).view(B, T, H * D) must not copy.
          assertThat(result.out().transpose(1, 2).is_contiguous())
              .isEqualTo(form != Form.CONTIGUOUS);
        }
      }
    }
  }

  @Test
  void attentionOfOtherLengths_takesAllKeys_andRefusesCausal() {
    Tensor q = random(DType.FLOAT32, 1, 2, 5, 8);
    Tensor k = random(DType.FLOAT32, 1, 2, 9, 8);
    try (FusedAttention attention = new FusedAttention(device)) {
      Tensor own = attention.forward(q, k, k, false).out();
      Tensor theirs = torch.scaled_dot_product_attention(q, k, k);
      assertThat(largest(own.sub(theirs))).isLessThan(1e-6);
      assertThatThrownBy(() -> attention.forward(q, k, k, true))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("k: expected 5 keys, as many as queries, where causal, got 9");
    }
  }

  /** What it keeps between calls is its own, not of the caller's scope. */
  @Test
  void attention_outlivesTheCallersScope_andChangesShape() {
    Tensor q = random(DType.FLOAT32, 2, 2, 6, 8);
    Tensor longer = random(DType.FLOAT32, 1, 2, 15, 8);
    try (FusedAttention attention = new FusedAttention(device)) {
      for (Tensor x : List.of(q, q, longer, q)) {
        try (PointerScope inner = new PointerScope()) {
          Tensor theirs = torch.scaled_dot_product_attention(x, x, x);
          assertThat(largest(attention.forward(x, x, x, false).out().sub(theirs))).isLessThan(1e-6);
        }
      }
    }
  }

  @Test
  void attentionWithDropout_drawsAnewEachTime_andTheSameGoingBack() {
    Tensor[] given = operands(Form.TRANSPOSED, DType.FLOAT32, 1, 2, 64, 8);
    Tensor dout = random(DType.FLOAT32, 1, 64, 2, 8).transpose(1, 2);
    try (FusedAttention attention = new FusedAttention(device, Double.NaN, 0.25, 11)) {
      FusedAttention.Result first = attention.forward(given[0], given[1], given[2], false);
      FusedAttention.Result second = attention.forward(given[0], given[1], given[2], false);
      assertThat(largest(first.out().sub(second.out()))).isGreaterThan(0.01);
      // out is linear in v: <dout, out> = <dv, v> holds only under the same mask.
      for (FusedAttention.Result result : List.of(first, second)) {
        Tensor dv = attention.backward(result, dout).dv();
        double forward = dout.mul(result.out()).sum().item_double();
        assertThat(dv.mul(given[2]).sum().item_double()).isCloseTo(forward, within(1e-3));
      }
    }
  }

  @Test
  void attention_refusesWhatDoesNotFit() {
    Tensor q = random(DType.FLOAT32, 1, 2, 4, 8);
    Tensor mixed = random(DType.FLOAT32, 1, 4, 2, 8).transpose(1, 2);
    try (FusedAttention attention = new FusedAttention(device)) {
      assertRefused(
          () -> attention.forward(q, random(DType.BFLOAT16, 1, 2, 4, 8), q, false),
          "k: expected FLOAT32, got BFLOAT16");
      assertRefused(
          () -> attention.forward(q, q, random(DType.FLOAT32, 1, 2, 5, 8), false),
          "v: expected shape [1, 2, 4, 8], got [1, 2, 5, 8]");
      assertRefused(
          () -> attention.forward(q, mixed, q, false), "q, k, v: expected all contiguous");
      assertRefused(
          () -> attention.forward(q.transpose(2, 3), q, q, false), "stride 1 of the last axis");
      FusedAttention.Result result = attention.forward(q, q, q, false);
      assertRefused(() -> attention.backward(result, mixed), "dout: expected a contiguous tensor");
    }
    assertRefused(
        () -> new FusedAttention(device, Double.NaN, 1, 0),
        "dropout: expected a probability in [0, 1), got 1.0");
  }

  private static void assertRefused(
      org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String message) {
    assertThatThrownBy(call)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }

  // ---- cross-entropy

  private static List<Tensor> crossEntropy(
      Tensor logits, Tensor targets, double smoothing, ScalarType type) {
    Tensor x = leaf(logits, type);
    Tensor loss =
        torch.cross_entropy_loss(
            x, targets, new TensorOptional(), Reduction.Mean.value, -100, smoothing);
    loss.backward();
    return List.of(loss, x.grad());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void crossEntropy_equalsLibtorchs_forBothKindsOfTargets(DType dtype) {
    for (double smoothing : new double[] {0, 0.1}) {
      Tensor wide = random(dtype, 9, 64);
      Tensor logits = wide.narrow(1, 0, 50);
      Tensor targets = torch.randint(50, new long[] {9});
      targets.select(0, 3).fill_(new Scalar(-100));
      List<Tensor> exact = crossEntropy(logits, targets, smoothing, ScalarType.Double);
      List<Tensor> theirs =
          crossEntropy(logits, targets, smoothing, TorchTensors.scalarType(dtype));
      try (FusedCrossEntropy loss = new FusedCrossEntropy(device, -100, smoothing)) {
        FusedCrossEntropy.Loss forward = loss.forward(logits, targets.to(ScalarType.Int));
        FusedCrossEntropy.Loss both = loss.forwardBackward(logits, targets);
        assertThat(both.count()).isEqualTo(8);
        assertThat(both.mean()).isEqualTo(forward.mean());
        assertThat(both.mean()).isCloseTo(exact.get(0).item_double(), within(1e-5));
        assertRule("dlogits", logits, theirs.get(1), exact.get(1), dtype);
      }
    }
  }

  @Test
  void crossEntropy_refusesTargetsOfAnotherLength() {
    try (FusedCrossEntropy loss = new FusedCrossEntropy(device)) {
      assertRefused(
          () -> loss.forward(random(DType.FLOAT32, 3, 4), torch.randint(4, new long[] {2})),
          "targets: expected shape [3], got [2]");
      assertRefused(
          () -> loss.forward(random(DType.FLOAT32, 2, 4), random(DType.FLOAT32, 2)),
          "targets: expected INT32, got FLOAT32");
    }
  }

  // ---- LayerNorm

  private static List<Tensor> layerNorm(Tensor[] given, Tensor dout, Tensor dsum, ScalarType type) {
    Tensor x = leaf(given[0], type);
    Tensor gamma = leaf(given[2], type);
    Tensor beta = leaf(given[3], type);
    Tensor sum = given[1] == null ? x : x.add(given[1].to(type));
    Tensor out =
        torch.layer_norm(
            sum,
            new long[] {x.size(-1)},
            new TensorOptional(gamma),
            new TensorOptional(beta),
            1e-5,
            false);
    Tensor total = out.mul(dout.to(type)).sum();
    if (dsum != null) {
      total = total.add(sum.mul(dsum.to(type)).sum());
    }
    total.backward();
    return List.of(out, x.grad(), gamma.grad(), beta.grad());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void layerNorm_equalsLibtorchs_withAndWithoutResidual(DType dtype) {
    for (boolean residual : new boolean[] {false, true}) {
      Tensor[] given = {
        random(dtype, 2, 5, 24),
        residual ? random(dtype, 2, 5, 24) : null,
        random(dtype, 24),
        random(dtype, 24)
      };
      Tensor dout = random(dtype, 2, 5, 24);
      Tensor dsum = residual ? random(dtype, 2, 5, 24) : null;
      List<Tensor> exact = layerNorm(given, dout, dsum, ScalarType.Double);
      List<Tensor> theirs = layerNorm(given, dout, dsum, TorchTensors.scalarType(dtype));
      try (FusedLayerNorm norm = new FusedLayerNorm(device, 1e-5)) {
        FusedLayerNorm.Result result = norm.forward(given[0], given[1], given[2], given[3]);
        FusedLayerNorm.Gradients gradients = norm.backward(result, dout, dsum);
        List<Tensor> own =
            List.of(result.out(), gradients.dsum(), gradients.dgamma(), gradients.dbeta());
        for (int i = 0; i < own.size(); i++) {
          String name = residual + " " + List.of("out", "dsum", "dgamma", "dbeta").get(i);
          assertRule(name, own.get(i), theirs.get(i), exact.get(i), dtype);
        }
      }
    }
  }

  @Test
  void layerNorm_refusesAGammaOfAnotherDType() {
    try (FusedLayerNorm norm = new FusedLayerNorm(device, 1e-5)) {
      Tensor x = random(DType.BFLOAT16, 3, 8);
      Tensor gamma = random(DType.FLOAT32, 8);
      assertRefused(
          () -> norm.forward(x, null, gamma, gamma), "gamma: expected BFLOAT16, got FLOAT32");
    }
  }

  // ---- AdamW

  private static TensorVector parameters(long seed) {
    torch.manual_seed(seed);
    return new TensorVector(
        torch.randn(5, 7).set_requires_grad(true), torch.randn(11).set_requires_grad(true));
  }

  private static void gradients(TensorVector parameters, long seed) {
    torch.manual_seed(seed);
    for (long i = 0; i < parameters.size(); i++) {
      Tensor parameter = parameters.get(i);
      parameter.mutable_grad().put(torch.randn(Arguments.shape(parameter)));
    }
  }

  @Test
  void adamw_overSteps_equalsLibtorchs_whenGradientsAreNewTensorsEachTime() {
    TensorVector own = parameters(3);
    TensorVector theirs = parameters(3);
    AdamWOptions options = new AdamWOptions(0.01);
    options.weight_decay().put(0.1);
    AdamW peer = new AdamW(theirs, options);
    FusedAdamW.Options same = new FusedAdamW.Options(0.01, 0.9, 0.999, 1e-8, 0.1, 1, true);
    try (FusedAdamW optimizer = new FusedAdamW(device, own, same)) {
      for (int step = 0; step < 4; step++) {
        gradients(own, step);
        gradients(theirs, step);
        double norm = torch.clip_grad_norm_(theirs, 1);
        peer.step();
        optimizer.step();
        assertThat(optimizer.gradNorm()).isCloseTo(norm, within(1e-5));
      }
      for (long i = 0; i < own.size(); i++) {
        assertThat(largest(own.get(i).sub(theirs.get(i)))).isLessThan(1e-6);
        assertThat(largest(own.get(i).grad())).as("left zero").isZero();
      }
    }
  }

  @Test
  void adamw_withAGradientThatIsNotFinite_changesNothing() {
    TensorVector own = parameters(3);
    Tensor before = own.get(0).clone();
    try (FusedAdamW optimizer = new FusedAdamW(device, own, FusedAdamW.Options.of(0.1))) {
      gradients(own, 1);
      own.get(1).grad().fill_(new Scalar(Double.POSITIVE_INFINITY));
      optimizer.step();
      assertThat(own.get(0).equal(before)).isTrue();
      assertThat(optimizer.skippedSteps()).isEqualTo(1);
      gradients(own, 1);
      optimizer.step();
      assertThat(own.get(0).equal(before)).isFalse();
    }
  }

  @Test
  void adamw_refusesParametersWithoutGradient_andOfAnotherDType() {
    TensorVector own = parameters(3);
    try (FusedAdamW optimizer = new FusedAdamW(device, own, FusedAdamW.Options.of(0.1))) {
      assertRefused(optimizer::step, "parameter 0: expected a gradient, got none");
    }
    TensorVector half = new TensorVector(random(DType.BFLOAT16, 3));
    assertRefused(
        () -> new FusedAdamW(device, half, FusedAdamW.Options.of(0.1)),
        "parameter 0: expected FLOAT32, got BFLOAT16");
  }
}
