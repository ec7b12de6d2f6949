package dev.graft.program;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_parameter;
import dev.graft.bindings.graft_parameter_set;
import dev.graft.runtime.Address;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.List;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.ShortPointer;

/** Tensors an optimizer steps together, in one native call. */
public final class ParameterSet implements AutoCloseable {
  /**
   * One of them, all of the same shape.
   *
   * @param grad fp32 gradient
   * @param weight fp32 (master) weights; if they lie in two halves, the high one is {@code
   *     weight16}
   * @param weight16 bf16 copy of the weights, or null
   * @param m first moment, fp32 or bf16
   * @param v second moment, of the same dtype
   * @param weightDecay decoupled decay, at least 0
   * @param lrScale factor of the learning rate; 0 freezes
   */
  public record Entry(
      Tensor grad,
      Tensor weight,
      Tensor weight16,
      Tensor m,
      Tensor v,
      float weightDecay,
      float lrScale) {}

  private final Device device;
  private graft_parameter_set set;

  public ParameterSet(Device device, List<Entry> entries) {
    this.device = device;
    try (graft_parameter list = new graft_parameter(Math.max(1, entries.size()));
        PointerPointer<graft_parameter_set> out = new PointerPointer<>(1)) {
      for (int i = 0; i < entries.size(); i++) {
        Entry e = entries.get(i);
        list.position(i)
            .grad(Address.floats(e.grad().address()))
            .weight16(e.weight16() == null ? null : e.weight16().pointer())
            .count(e.weight().count())
            .weight_decay(e.weightDecay())
            .lr_scale(e.lrScale());
        putState(list, e);
      }
      list.position(0);
      Status.check(graft.graft_parameter_set_create(device.context(), list, entries.size(), out));
      set = out.get(graft_parameter_set.class);
    }
  }

  private static void putState(graft_parameter to, Entry e) {
    boolean compact = e.m().dtype() == DType.BFLOAT16;
    to.m(compact ? null : Address.floats(e.m().address()))
        .v(compact ? null : Address.floats(e.v().address()))
        .m16(compact ? e.m().pointer() : null)
        .v16(compact ? e.v().pointer() : null);
    if (e.weight().isSplit()) {
      to.weight(null).remainder(new ShortPointer(Address.of(e.weight().parts().get(1).address())));
    } else {
      to.weight(Address.floats(e.weight().address())).remainder((ShortPointer) null);
    }
  }

  graft_parameter_set handle() {
    if (set == null) {
      throw new IllegalStateException("parameter set was closed");
    }
    return set;
  }

  @Override
  public void close() {
    if (set != null) {
      graft.graft_parameter_set_destroy(device.context(), set);
      set = null;
    }
  }
}
