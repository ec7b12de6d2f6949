package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import dev.graft.program.ActivationArena;
import dev.graft.program.Ops;
import dev.graft.program.Program;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A CUDA device without a card: its streams run nothing before they are waited for, so that a copy
 * or a product out of order gives wrong numbers. In a JVM of its own, for it takes CUDA's place.
 */
@Tag("emulated")
class EmulatedDeviceTest {
  @BeforeAll
  static void library() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
  }

  private static float[] random(long seed, int count) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  @Test
  void names() {
    try (Device device = Device.open("emulate", 3)) {
      assertThat(device.name()).isEqualTo("emulate");
      assertThat(device.isHost()).isFalse();
      assertThat(device.captures()).isTrue();
      assertThat(device.threads()).isZero();
      assertThat(CudaBackend.status().available()).isFalse();
      assertThatThrownBy(() -> Device.cuda(0))
          .isInstanceOf(DeviceUnavailableException.class)
          .hasMessageStartingWith("cuda: this process emulates its CUDA device");
    }
  }

  /** What runs on another stream has not run when this one was waited for: there lies the order. */
  @Test
  void aCallersStream_holdsTheWorkInItsOrder() {
    float[] values = random(7, 64);
    try (Device owner = Device.emulated();
        Device guest = Device.emulated(owner.stream());
        Device apart = Device.emulated();
        Arena arena = new Arena(owner, "shared")) {
      Tensor from = arena.zeros("from", DType.FLOAT32, 64);
      Tensor there = arena.zeros("there", DType.FLOAT32, 64);
      Tensor elsewhere = arena.zeros("elsewhere", DType.FLOAT32, 64);
      from.put(values, 64);
      Ops.castNow(guest, from, there);
      Ops.castNow(apart, from, elsewhere);
      assertThat(there.floats()).isEqualTo(values);
      assertThat(elsewhere.floats()).containsOnly(0);
      assertThat(guest.stream()).isEqualTo(owner.stream());
      apart.synchronize();
      assertThat(elsewhere.floats()).isEqualTo(values);
    }
  }

  /** CUDA captures nothing on it. */
  @Test
  void theDefaultStream_runsProgramsCallByCall() {
    float[] values = random(8, 64);
    try (Device device = Device.emulated(null);
        Arena arena = new Arena(device, "operands");
        ActivationArena activations = new ActivationArena(device, "activations");
        Program program = new Program("copy", activations)) {
      Tensor from = arena.zeros("from", DType.FLOAT32, 64);
      Tensor to = arena.zeros("to", DType.FLOAT32, 64);
      new Ops(program).cast(from, to);
      program.seal();
      from.put(values, 64);
      for (int run = 0; run < 3; run++) {
        program.run();
      }
      assertThat(device.captures()).isFalse();
      assertThat(program.isCaptured()).isFalse();
      assertThat(to.floats()).isEqualTo(values);
    }
  }

  /** Oracle: the arrays. More than both halves of the staging memory hold, none waited for. */
  @Test
  void writes_areInOrder_thoughStagingMemoryIsUsedAgain() {
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "copies")) {
      int count = 300_000;
      Tensor[] tensors = new Tensor[12];
      int[] values = new int[count];
      for (int t = 0; t < tensors.length; t++) {
        tensors[t] = arena.zeros("ints " + t, DType.INT32, count);
        for (int i = 0; i < count; i++) {
          values[i] = t * 1_000_003 + i;
        }
        tensors[t].put(values, count);
      }
      for (int t = 0; t < tensors.length; t++) {
        tensors[t].get(values, count);
        for (int i = 0; i < count; i += 997) {
          assertThat(values[i]).isEqualTo(t * 1_000_003 + i);
        }
      }
    }
  }

  /** Oracle: the array, rounded where the tensor is bf16. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void floats_comeBack_alsoLongerThanStagingMemory(DType dtype) {
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "copies")) {
      int count = Staging.HALF / dtype.bytes() * 2 + 17;
      float[] values = random(1, count);
      Tensor tensor = arena.zeros("floats", dtype, count + 5);
      tensor.put(5, values);
      float[] got = tensor.floats();
      assertThat(got[4]).isZero();
      for (int i = 0; i < count; i++) {
        float expected =
            dtype == DType.FLOAT32 ? values[i] : BFloat16.toFloat(BFloat16.fromFloat(values[i]));
        if (got[5 + i] != expected) {
          assertThat(got[5 + i]).as("element %d", i).isEqualTo(expected);
        }
      }
    }
  }

  /** Oracle: the CPU device, whose products these are; only their place in the order differs. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void products_areInOrder_andEqualTheCpus(DType dtype) {
    float[] a = random(2, 9 * 16);
    float[] b = random(3, 16 * 8);
    float[] bias = random(4, 8);
    float[] expected = null;
    for (String name : new String[] {"cpu", "emulate"}) {
      try (Device device = Device.open(name, 1);
          Arena arena = new Arena(device, "products")) {
        Tensor ta = arena.zeros("a", dtype, 9, 16);
        Tensor tb = arena.zeros("b", dtype, 16, 8);
        Tensor tbias = arena.zeros("bias", dtype, 8);
        Tensor tc = arena.zeros("c", dtype, 9, 8);
        try (Gemm.Call call = device.gemm().prepare(ta, false, tb, false, tc, true, tbias)) {
          ta.put(0, a);
          tb.put(0, b);
          tbias.put(0, bias);
          call.run();
          ta.put(0, new float[a.length]); // after the product
          call.run();
          float[] got = tc.floats();
          if (expected == null) {
            expected = got;
          } else {
            assertThat(got).isEqualTo(expected);
          }
        }
      }
    }
  }

  /** Oracle: arithmetic. The first run warms up, the second captures, all count. */
  @Test
  void program_isCapturedOnce_andReplays() {
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "weights");
        ActivationArena activations = new ActivationArena(device, "activations")) {
      Tensor a = arena.zeros("a", DType.FLOAT32, 4, 8);
      Tensor b = arena.zeros("b", DType.FLOAT32, 8, 4);
      Tensor sum = arena.zeros("sum", DType.FLOAT32, 4, 4);
      a.put(0, random(5, 32));
      b.put(0, random(6, 32));
      Program program = new Program("product", activations);
      Tensor between = program.activation("between", DType.FLOAT32, 4, 4);
      Ops ops = new Ops(program);
      Tensor unit = arena.zeros("unit", DType.FLOAT32, 4, 4);
      unit.put(0, new float[] {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1});
      ops.gemm("product", a, false, b, false, between, false, null);
      ops.gemm("sum", between, false, unit, false, sum, true, null);
      program.seal();
      for (int run = 1; run <= 5; run++) {
        program.run();
        assertThat(program.isCaptured()).isEqualTo(run > 1);
      }
      float[] five = sum.floats();
      // A larger program moves the activations; the smaller one is captured anew.
      Program larger = new Program("larger", activations);
      Tensor much = larger.keep(larger.activation("much", DType.FLOAT32, 64, 64));
      new Ops(larger).gemm("much", a, false, b, false, much.view(0, 4, 4), false, null);
      larger.seal();
      assertThat(program.isCaptured()).isFalse();
      sum.put(0, new float[16]);
      for (int run = 0; run < 5; run++) {
        program.run();
      }
      assertThat(program.isCaptured()).isTrue();
      assertThat(sum.floats()).isEqualTo(five);
      larger.close();
      program.close();
    }
  }

  /** Oracle: the JVM's own count of bytes allocated by this thread. */
  @Test
  void batchUpload_allocatesNothing() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "batch")) {
      Tensor ids = arena.zeros("ids", DType.INT32, 4096);
      int[] values = new int[4096];
      long before = 0;
      int steady = 20_000;
      for (int i = 0; i < steady + 1000; i++) {
        if (i == steady) {
          before = threads.getCurrentThreadAllocatedBytes();
        }
        ids.put(values, 1000);
      }
      // Compilation may move a handful of objects to the heap; a copy a call would be thousands.
      assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(10_000);
    }
  }
}
