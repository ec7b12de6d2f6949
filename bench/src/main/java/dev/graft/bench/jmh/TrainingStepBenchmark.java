package dev.graft.bench.jmh;

import dev.graft.bench.TrainingSetup;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
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
 * A training step as the trainer makes it: fill a batch from the corpus, forward, backward, clip,
 * AdamW. With {@code -prof gc} its {@code gc.alloc.rate.norm} is to be that of {@link #harness}.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class TrainingStepBenchmark {
  @Param public TrainingSetup.Kind kind;

  @Param({"FLOAT32", "BFLOAT16"})
  public DType dtype;

  private Device device;
  private TrainingSetup setup;

  @Setup(Level.Trial)
  public void open() throws IOException {
    device = Device.cpu();
    setup = new TrainingSetup(device, kind, dtype);
    setup.meetEveryBucket();
    System.out.println(setup.calls() + " native calls a step");
  }

  @TearDown(Level.Trial)
  public void close() throws IOException {
    setup.close();
    device.close();
  }

  @Benchmark
  public void step() {
    setup.step();
  }

  /** Nothing, for about a step's time: what allocates here is the harness. */
  @Benchmark
  public void harness() {
    LockSupport.parkNanos(2_000_000);
  }
}
