package dev.graft.runtime;

import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_host_function;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.Pointer;

/**
 * Products of the emulated CUDA device, whose memory is the host's: oneDNN's, each run in its place
 * in the device's stream, so that they wait and are captured as cuBLASLt's are. It has every
 * epilogue where cuBLASLt's rules for shapes allow it, and uses them unless told otherwise.
 */
final class EmulatedGemm extends ChoosingGemm {
  private final Device device;
  private final Device host = Device.cpuWithoutLimit();
  private final OneDnnGemm products = new OneDnnGemm(host);
  private final List<Bound> bound = new ArrayList<>();
  private final Runner runner = new Runner();
  private RuntimeException failure;

  EmulatedGemm(Device device) {
    super(new AlgorithmCache(null), Fusing.ALWAYS);
    this.device = device;
  }

  @Override
  public String description() {
    return "emulated CUDA device, " + products.description();
  }

  private Call onHost(Product product) {
    product.requireFits();
    if (!CublasLtEpilogue.of(product).fits()) {
      throw new UnsupportedEpilogueException(
          description() + " has no algorithm for " + product.key());
    }
    if (product.isFloat8()) {
      return new EmulatedFloat8(host, products, product);
    }
    return product.epilogue().isPlain()
        ? products.prepare(product)
        : new EmulatedEpilogue(host, products, product);
  }

  @Override
  public Call prepare(Product product) {
    int free = bound.indexOf(null);
    Bound call = new Bound(onHost(product), free < 0 ? bound.size() : free);
    if (free < 0) {
      bound.add(call);
    } else {
      bound.set(free, call);
    }
    return call;
  }

  @Override
  public void close() {
    products.close();
    host.close();
    runner.close();
  }

  /** Called by the stream; the user pointer is the number of the call. */
  private final class Runner extends graft_host_function {
    @Override
    public void call(Pointer user) {
      try {
        bound.get(user == null ? 0 : (int) user.address()).product.run();
      } catch (RuntimeException e) { // must not unwind through the stream
        failure = e;
      }
    }
  }

  private final class Bound implements Call {
    private final int number;
    private final Pointer user;
    private Call product;

    Bound(Call product, int number) {
      this.product = product;
      this.number = number;
      this.user = Address.of(number);
    }

    @Override
    public void run() {
      if (failure != null) {
        throw failure;
      }
      Device.check(graft.graft_host_enqueue(device.context(), runner, user));
    }

    @Override
    public void close() {
      if (product != null) {
        if (device.isOpen()) {
          device.synchronize();
        }
        product.close();
        product = null;
        bound.set(number, null);
      }
    }
  }
}
