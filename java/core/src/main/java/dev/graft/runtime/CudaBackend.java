package dev.graft.runtime;

import dev.graft.bindings.NativeLibraries;
import dev.graft.bindings.global.graft;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Optional;

/** Whether the CUDA kernels can be used here, and if not, why. */
public final class CudaBackend {
  private CudaBackend() {}

  /**
   * What this build and this machine have.
   *
   * @param built whether the CUDA plugin is part of this build
   * @param available whether a context can be created on a CUDA device now
   * @param reason why not, in words for a user; empty if available
   */
  public record Status(boolean built, boolean available, String reason) {}

  /** Loads the plugin at the first call; asks the driver at each. */
  public static Status status() {
    Optional<Path> plugin;
    try {
      plugin = NativeLibraries.cudaPlugin();
    } catch (UncheckedIOException e) {
      return new Status(true, false, e.getMessage());
    }
    if (plugin.isEmpty()) {
      return new Status(false, false, "this build has no CUDA kernels (built without nvcc)");
    }
    boolean available =
        graft.graft_load_backend(graft.GRAFT_CUDA, plugin.get().toString()) == graft.GRAFT_OK
            && graft.graft_backend_available(graft.GRAFT_CUDA) != 0;
    return new Status(true, available, available ? "" : graft.graft_last_error().getString());
  }
}
