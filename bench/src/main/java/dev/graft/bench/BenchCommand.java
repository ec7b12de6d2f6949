package dev.graft.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Unmatched;

/** {@code graft bench}: kernels, whole steps beside libtorch, and what they hold. */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    description = "Measures Graft beside libtorch on this machine.",
    subcommands = {
      KernelsCommand.class,
      StepsCommand.class,
      MemoryCommand.class,
      ScalingCommand.class,
      BenchCommand.Jmh.class
    })
public final class BenchCommand {

  /** {@code graft bench jmh}. */
  @Command(
      name = "jmh",
      description = {
        "Runs the JMH benchmarks; what follows goes to JMH:",
        "  graft bench jmh -l                            which there are",
        "  graft bench jmh TrainingStep -prof gc         bytes allocated a step",
        "  graft bench jmh -h                            JMH's own options"
      })
  static final class Jmh implements Callable<Integer> {
    /** All of them, options too: they are JMH's own. */
    @Unmatched List<String> arguments = new ArrayList<>();

    @Override
    public Integer call() throws Exception {
      org.openjdk.jmh.Main.main(arguments.toArray(new String[0]));
      return 0;
    }
  }
}
