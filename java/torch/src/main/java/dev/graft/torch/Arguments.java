package dev.graft.torch;

import dev.graft.bindings.Status;
import dev.graft.runtime.DType;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/** What the drop-ins share: argument structs, results and workspaces as libtorch tensors. */
final class Arguments {
  /** A workspace query of graft.h, on arguments that are filled already. */
  interface Query {
    int ask(LongPointer bytes);
  }

  private Arguments() {}

  /** A struct of zeroes, as graft.h wants it before it is filled. */
  static <A extends Pointer> A zeroed(A args) {
    Pointer.memset(args, 0, args.sizeof());
    return args;
  }

  /** A tensor that is not initialised, on the device of another. */
  static Tensor empty(Tensor like, DType dtype, long... shape) {
    TensorOptions options =
        like.options().dtype(new ScalarTypeOptional(TorchTensors.scalarType(dtype)));
    return torch.empty(shape, options, new MemoryFormatOptional());
  }

  /** As many bytes as a query asks for, or null for none; the caller closes it. */
  static Tensor workspace(Tensor like, Query query) {
    try (LongPointer bytes = new LongPointer(1)) {
      Status.check(query.ask(bytes));
      long floats = (bytes.get() + Float.BYTES - 1) / Float.BYTES;
      return floats == 0 ? null : empty(like, DType.FLOAT32, floats);
    }
  }

  /** Sizes, without a vector of libtorch's that would wait for the garbage collector. */
  static long[] shape(Tensor tensor) {
    long[] shape = new long[Math.toIntExact(tensor.dim())];
    for (int axis = 0; axis < shape.length; axis++) {
      shape[axis] = tensor.size(axis);
    }
    return shape;
  }

  static Pointer address(Tensor tensor) {
    return tensor == null || tensor.numel() == 0 ? null : tensor.data_ptr();
  }

  static long bytes(Tensor tensor) {
    return tensor == null ? 0 : tensor.numel() * Float.BYTES;
  }

  static IllegalArgumentException refuse(String argument, String expected, Object got) {
    return new IllegalArgumentException(
        String.format("%s: expected %s, got %s", argument, expected, got));
  }
}
