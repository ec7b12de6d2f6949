package dev.graft.bench;

import dev.graft.runtime.Philox;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Small helpers over the libtorch preset. */
final class Torch {
  private Torch() {}

  static final ScalarType F64 = ScalarType.Double;
  static final ScalarType F32 = ScalarType.Float;
  static final ScalarType BF16 = ScalarType.BFloat16;

  static ScalarType type(int graftDtype) {
    return graftDtype == dev.graft.bindings.global.graft.GRAFT_BFLOAT16 ? BF16 : F32;
  }

  /** Which of several draws of the same case is meant; tests compare over a few. */
  static int draw;

  /** Seeded N(0, scale) values that are exact in {@code type}, as doubles. */
  static double[] normal(long seed, long count, double scale, ScalarType type) {
    Philox random = new Philox(seed, draw, 0);
    double[] values = new double[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = round(scale * random.nextGaussian(), type);
    }
    return values;
  }

  static double round(double value, ScalarType type) {
    if (type == BF16) {
      return dev.graft.runtime.BFloat16.toFloat(
          dev.graft.runtime.BFloat16.fromFloat((float) value));
    }
    return type == F32 ? (float) value : value;
  }

  static Tensor of(double[] values, ScalarType type, long... shape) {
    return Tensor.create(values, shape).to(type);
  }

  /** A leaf that collects a gradient. */
  static Tensor leaf(double[] values, ScalarType type, long... shape) {
    return of(values, type, shape).set_requires_grad(true);
  }

  static Tensor zeros(ScalarType type, long... shape) {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    return of(new double[Math.toIntExact(count)], type, shape);
  }

  static double[] values(Tensor tensor) {
    Tensor flat = tensor.detach().to(F64).contiguous();
    double[] out = new double[Math.toIntExact(flat.numel())];
    if (out.length > 0) {
      flat.data_ptr_double().get(out);
    }
    return out;
  }

  static Pointer address(Tensor tensor) {
    return tensor.numel() == 0 ? null : tensor.data_ptr();
  }

  static Scalar scalar(double value) {
    return new Scalar(value);
  }

  /** The preset's version, for example {@code 2.10.0-1.5.13}. */
  static String version() {
    Properties properties = new Properties();
    try (InputStream in =
        Tensor.class.getResourceAsStream("/META-INF/maven/org.bytedeco/pytorch/pom.properties")) {
      properties.load(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return properties.getProperty("version");
  }

  static void threads(int threads) {
    torch.set_num_threads(threads);
  }
}
