package dev.graft.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_add_args;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Oracle: libtorch's own results and strides, exact. */
class TorchTensorsTest {
  private PointerScope scope;
  private Device device;

  @BeforeEach
  void open() {
    scope = new PointerScope();
    device = Device.cpu(1);
  }

  @AfterEach
  void close() {
    device.close();
    scope.close();
  }

  @Test
  void add_onTensors_equalsLibtorchAdd() {
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16}) {
      Tensor a = random(dtype, 7, 33);
      Tensor b = random(dtype, 7, 33);
      Tensor out = torch.zeros_like(a);
      try (graft_add_args args = new graft_add_args()) {
        Pointer.memset(args, 0, args.sizeof());
        args.struct_size(args.sizeof())
            .a(TorchTensors.contiguous("a", a, device, dtype, 7, 33))
            .b(TorchTensors.contiguous("b", b, device, dtype, -1, 33))
            .out(TorchTensors.contiguous("out", out, device, dtype, -1, -1))
            .count(a.numel())
            .dtype(dtype.code());
        Status.check(graft.graft_add(device.context(), args));
      }
      assertThat(out.equal(a.add(b))).as("%s", dtype).isTrue();
      assertThat(out.equal(torch.zeros_like(a))).isFalse();
    }
  }

  @Test
  void rows_takesAPackedViewWithoutACopy() {
    // [T, 3, H, D]: k begins HD elements after q, rows lie 3HD apart.
    Tensor qkv = random(DType.FLOAT32, 5, 3, 2, 8);
    Tensor k = qkv.select(1, 1);
    Pointer whole = TorchTensors.contiguous("qkv", qkv, device, DType.FLOAT32, 5, 3, 2, 8);
    Pointer view = TorchTensors.rows("k", k, device, DType.FLOAT32, 5, 2, 8);
    assertThat(view.address() - whole.address()).isEqualTo(2 * 8 * Float.BYTES);
    assertThat(TorchTensors.rowStride(k)).isEqualTo(3 * 2 * 8);
    assertThatThrownBy(() -> TorchTensors.contiguous("k", k, device, DType.FLOAT32, 5, 2, 8))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("k: expected a contiguous tensor, got strides [48, 8, 1]");
  }

  @Test
  void rows_refusesATransposedView() {
    Tensor transposed = random(DType.FLOAT32, 5, 3, 8).transpose(1, 2);
    assertThatThrownBy(() -> TorchTensors.rows("q", transposed, device, DType.FLOAT32, 5, 8, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("q: expected packed axes after the first, got stride 8 instead of 1");
  }

  @Test
  void rows_refusesRowsOnTopOfEachOther() {
    Tensor repeated = random(DType.FLOAT32, 1, 8).expand(4, 8);
    assertThatThrownBy(() -> TorchTensors.rows("out", repeated, device, DType.FLOAT32, 4, 8))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("out: expected rows that do not overlap, got stride 0");
  }

  @Test
  void otherDtypeOrShape_isRefusedByName() {
    Tensor doubles = torch.zeros(2, 3).to(ScalarType.Double);
    assertThatThrownBy(() -> TorchTensors.contiguous("x", doubles, device, DType.FLOAT32, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "x: expected one of [FLOAT32, BFLOAT16, INT32, FLOAT8_E4M3, FLOAT8_E5M2], got Double");
    Tensor halves = random(DType.BFLOAT16, 2, 3);
    assertThatThrownBy(() -> TorchTensors.contiguous("x", halves, device, DType.FLOAT32, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("x: expected FLOAT32, got BFLOAT16");
    assertThatThrownBy(() -> TorchTensors.contiguous("x", halves, device, DType.BFLOAT16, -1, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("x: expected shape [any, 4], got [2, 3]");
    assertThatThrownBy(
            () -> TorchTensors.contiguous("x", new Tensor(), device, DType.FLOAT32, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("x: expected a tensor, got an undefined one");
  }

  @Test
  void otherDevice_isRefusedByName() {
    Tensor meta = torch.zeros(2, 3).to(new org.bytedeco.pytorch.Device("meta"), ScalarType.Float);
    assertThatThrownBy(() -> TorchTensors.contiguous("x", meta, device, DType.FLOAT32, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("x: expected a tensor on cpu, got one on meta");
  }

  @Test
  void noElements_giveNull() {
    assertThat(TorchTensors.contiguous("x", torch.zeros(0, 4), device, DType.FLOAT32, -1, 4))
        .isNull();
  }

  private static Tensor random(DType dtype, long... shape) {
    return torch.randn(shape).to(TorchTensors.scalarType(dtype));
  }

  /** Oracle: libtorch's own count of threads. */
  @Test
  void theDeviceOfATensor_isTheSameUntilItsStreamChanges() {
    try (TorchDevices devices = new TorchDevices()) {
      Tensor tensor = random(DType.FLOAT32, 3);
      Device first = devices.of(tensor);
      assertThat(first.name()).isEqualTo("cpu");
      assertThat(first.threads()).isEqualTo(torch.get_num_threads());
      assertThat(devices.of(tensor.add(tensor))).isSameAs(first);
      assertThat(TorchTensors.contiguous("x", tensor, first, DType.FLOAT32, 3)).isNotNull();
    }
  }

  @Test
  void theDefaultStream_hasTwoNames() {
    Pointer legacy = pointer(1);
    assertThat(TorchDevices.sameStream(null, legacy)).isTrue();
    assertThat(TorchDevices.sameStream(legacy, null)).isTrue();
    assertThat(TorchDevices.sameStream(pointer(64), pointer(64))).isTrue();
    assertThat(TorchDevices.sameStream(pointer(64), pointer(128))).isFalse();
    assertThat(TorchDevices.sameStream(null, pointer(64))).isFalse();
  }

  private static Pointer pointer(long at) {
    return new Pointer() {
      {
        address = at;
      }
    };
  }
}
