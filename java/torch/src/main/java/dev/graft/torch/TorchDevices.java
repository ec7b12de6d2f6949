package dev.graft.torch;

import dev.graft.runtime.Device;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * The devices libtorch's tensors are on, with kernels in the order of libtorch's own: on a card, on
 * its current stream. So nothing has to be waited for on either side, and memory that libtorch's
 * allocator takes back is not given out while a kernel still reads it.
 *
 * <pre>{@code
 * try (TorchDevices devices = new TorchDevices();
 *     FusedAttention attention = new FusedAttention(devices.of(q))) {
 *   FusedAttention.Result o = attention.forward(q, k, v, true);
 * }
 * }</pre>
 *
 * <p>One thread at a time: libtorch's current stream is the thread's. Closing this closes the
 * devices; do it before libtorch gives the streams up.
 */
public final class TorchDevices implements AutoCloseable {
  /** A stream of a device; 0 is CUDA's default stream. */
  private record Place(String device, long stream) {}

  private final Map<Place, Device> devices = new HashMap<>();

  /**
   * The device of a tensor; the same one as long as libtorch's current stream is the same.
   *
   * @throws IllegalArgumentException if the tensor is neither on a processor nor on a CUDA card
   * @throws dev.graft.runtime.DeviceUnavailableException if Graft cannot use that card, saying why
   */
  public Device of(Tensor tensor) {
    if (tensor.is_cpu()) {
      return devices.computeIfAbsent(
          new Place("cpu", 0), place -> Device.cpu(torch.get_num_threads()));
    }
    if (!tensor.is_cuda()) {
      throw Arguments.refuse(
          "tensor", "one on cpu or cuda", "one on " + tensor.device().str().getString());
    }
    int index = tensor.device().index();
    Pointer stream = currentStream(index);
    return devices.computeIfAbsent(
        new Place("cuda:" + index, stream == null ? 0 : stream.address()),
        place -> Device.cuda(index, stream));
  }

  /** libtorch's current stream of a card in this thread; null for CUDA's default stream. */
  private static Pointer currentStream(int index) {
    try (CUDAStream current = torch_cuda.getCurrentCUDAStream((byte) index)) {
      CUstream_st stream = current.stream();
      return stream == null || stream.isNull() ? null : new Pointer(stream);
    }
  }

  /**
   * Refuses a device whose kernels would run beside libtorch's and not in their order.
   *
   * @param device the card where the tensor is
   */
  static void requireCurrentStream(String argument, Tensor tensor, Device device) {
    if (!sameStream(currentStream(tensor.device().index()), device.stream())) {
      throw Arguments.refuse(
          argument,
          "a device on libtorch's current stream (TorchDevices.of)",
          device.name() + " on another");
    }
  }

  /** CUDA's default stream has two names: null and cudaStreamLegacy, which is 1. */
  static boolean sameStream(Pointer one, Pointer other) {
    return Math.max(1, address(one)) == Math.max(1, address(other));
  }

  private static long address(Pointer stream) {
    return stream == null ? 0 : stream.address();
  }

  /** Closes the devices. */
  @Override
  public void close() {
    devices.values().forEach(Device::close);
    devices.clear();
  }
}
