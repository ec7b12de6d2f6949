package dev.graft.torch;

import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Arrays;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Checked addresses of libtorch tensors for the argument structs of {@code graft.h}.
 *
 * <p>Nothing is copied and nothing is kept: the tensor must stay alive, and must not be resized,
 * while a prepared call uses the address. Every refusal is an {@link IllegalArgumentException} that
 * names the argument, what was expected and what came.
 */
public final class TorchTensors {
  private TorchTensors() {}

  /**
   * The first element of a contiguous tensor.
   *
   * @param argument the name for messages
   * @param device where the kernel runs; the tensor must be there
   * @param dtype what the kernel reads
   * @param shape the expected sizes; -1 takes any
   * @return null for a tensor without elements, which is what the kernels take for one
   */
  public static Pointer contiguous(
      String argument, Tensor tensor, Device device, DType dtype, long... shape) {
    expect(argument, tensor, device, dtype, shape);
    if (!tensor.is_contiguous()) {
      throw refuse(
          argument,
          "a contiguous tensor",
          "strides " + Arrays.toString(tensor.strides().vec().get()) + " (contiguous() copies)");
    }
    return address(tensor);
  }

  /**
   * The first element of a tensor whose rows (axis 0) may lie apart: all later axes are packed. A
   * view of q, k or v in a packed {@code [T, 3, H, D]} is one. Its stride is {@link #rowStride}.
   *
   * @param argument the name for messages
   * @param device where the kernel runs; the tensor must be there
   * @param dtype what the kernel reads
   * @param shape the expected sizes; -1 takes any; two axes at least
   */
  public static Pointer rows(
      String argument, Tensor tensor, Device device, DType dtype, long... shape) {
    expect(argument, tensor, device, dtype, shape);
    long packed = 1;
    for (int axis = shape.length - 1; axis > 0; axis--) {
      // The stride of an axis of one element is never used.
      if (tensor.size(axis) > 1 && tensor.stride(axis) != packed) {
        throw refuse(
            argument,
            "packed axes after the first",
            "stride " + tensor.stride(axis) + " instead of " + packed + " of axis " + axis);
      }
      packed *= tensor.size(axis);
    }
    if (tensor.size(0) > 1 && tensor.stride(0) < packed) {
      throw refuse(
          argument,
          "rows that do not overlap",
          "stride " + tensor.stride(0) + " between rows of " + packed + " elements");
    }
    return address(tensor);
  }

  /** Elements from a row (axis 0) to the next, for the stride fields of the argument structs. */
  public static long rowStride(Tensor tensor) {
    return tensor.stride(0);
  }

  /**
   * The Graft dtype of a tensor.
   *
   * @throws IllegalArgumentException if Graft has none
   */
  public static DType dtype(String argument, Tensor tensor) {
    if (!tensor.defined()) {
      throw refuse(argument, "a tensor", "an undefined one");
    }
    ScalarType type = tensor.scalar_type().intern();
    for (DType dtype : DType.values()) {
      if (type == scalarType(dtype)) {
        return dtype;
      }
    }
    throw refuse(argument, "one of " + Arrays.toString(DType.values()), type.toString());
  }

  /** The libtorch dtype of a Graft one. */
  public static ScalarType scalarType(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
      case INT32 -> ScalarType.Int;
      case FLOAT8_E4M3 -> ScalarType.Float8_e4m3fn;
      case FLOAT8_E5M2 -> ScalarType.Float8_e5m2;
    };
  }

  /**
   * Refuses a tensor of another dtype, device or shape; its strides are the caller's matter.
   *
   * @param shape the expected sizes; -1 takes any
   */
  static void expect(String argument, Tensor tensor, Device device, DType dtype, long... shape) {
    DType got = dtype(argument, tensor);
    if (got != dtype) {
      throw refuse(argument, dtype.toString(), got.toString());
    }
    String place = place(tensor);
    if (!place.equals(device.name())) {
      throw refuse(argument, "a tensor on " + device.name(), "one on " + place);
    }
    if (!device.isHost()) {
      TorchDevices.requireCurrentStream(argument, tensor, device);
    }
    boolean fits = tensor.dim() == shape.length;
    for (int axis = 0; fits && axis < shape.length; axis++) {
      fits = shape[axis] == -1 || shape[axis] == tensor.size(axis);
    }
    if (!fits) {
      throw refuse(
          argument,
          "shape " + Arrays.toString(shape).replace("-1", "any"),
          Arrays.toString(tensor.sizes().vec().get()));
    }
  }

  /** As {@link Device#name()} writes it. */
  private static String place(Tensor tensor) {
    String name = tensor.device().str().getString();
    return name.equals("cuda") ? "cuda:0" : name;
  }

  private static Pointer address(Tensor tensor) {
    return tensor.numel() == 0 ? null : tensor.data_ptr();
  }

  private static IllegalArgumentException refuse(String argument, String expected, String got) {
    return new IllegalArgumentException(
        String.format("%s: expected %s, got %s", argument, expected, got));
  }
}
