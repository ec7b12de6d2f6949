package dev.graft.bench.jmh;

import dev.graft.bench.KernelCase;
import dev.graft.bench.KernelCases;
import dev.graft.runtime.Device;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The kernels under JMH, each beside libtorch: {@code -p kernel=...} takes the case's number in
 * {@link KernelCases}. {@code -prof gc} shows that Graft's calls allocate nothing.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class KernelBenchmark {
  @Param({"0", "1", "2", "3", "4", "5"})
  public int kernel;

  private Device device;
  private PointerScope scope;
  private KernelCase subject;

  @Setup(Level.Trial)
  public void open() {
    device = Device.cpu();
    scope = new PointerScope();
    List<Supplier<KernelCase>> cases = KernelCases.all(device, false);
    subject = cases.get(kernel).get();
    subject.prepareTorch();
    System.out.println(subject.op() + " " + subject.dtypeName() + " " + subject.shape());
  }

  @TearDown(Level.Trial)
  public void close() {
    subject.close();
    scope.close();
    device.close();
  }

  @Benchmark
  public void graft() {
    subject.runGraft();
  }

  @Benchmark
  public void libtorch() {
    try (PointerScope intermediates = new PointerScope()) {
      subject.runTorch();
    }
  }
}
