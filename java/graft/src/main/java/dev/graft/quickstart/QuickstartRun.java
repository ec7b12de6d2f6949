package dev.graft.quickstart;

import dev.graft.ModelOptions;
import dev.graft.quickstart.QuickstartOptions.Scale;
import dev.graft.runtime.DType;
import dev.graft.train.CancellationToken;
import java.nio.file.Path;

/**
 * What the jobs of a quickstart share.
 *
 * @param threads CPU threads of a job
 * @param listener takes one call at a time
 */
record QuickstartRun(
    QuickstartOptions options, int threads, DType dtype, QuickstartListener listener) {

  /** A folder inside the quickstart's. */
  Path directory(String name) {
    return options.directory().resolve(name);
  }

  Scale scale() {
    return options.scale();
  }

  long seed() {
    return options.seed();
  }

  CancellationToken cancellation() {
    return options.cancellation();
  }

  ModelOptions modelOptions() {
    return ModelOptions.defaults().withThreads(threads).withDType(dtype).withSeed(seed());
  }
}
