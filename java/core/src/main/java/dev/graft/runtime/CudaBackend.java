package dev.graft.runtime;

import dev.graft.bindings.NativeLibraries;
import dev.graft.bindings.global.graft;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Whether the CUDA kernels can be used here, and if not, why. */
public final class CudaBackend {
  /** System property: path of {@code libgraft_cuda_emulated.so}. */
  public static final String EMULATED_LIBRARY = "dev.graft.cuda.emulated";

  private static Path emulated;

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
  public static synchronized Status status() {
    Optional<Path> plugin;
    try {
      plugin = NativeLibraries.cudaPlugin();
    } catch (UncheckedIOException e) {
      return new Status(true, false, e.getMessage());
    }
    if (emulated != null) {
      return new Status(
          plugin.isPresent(), false, "this process emulates its CUDA device (" + emulated + ")");
    }
    if (plugin.isEmpty()) {
      return new Status(false, false, "this build has no CUDA kernels (built without nvcc)");
    }
    boolean available =
        graft.graft_load_backend(graft.GRAFT_CUDA, plugin.get().toString()) == graft.GRAFT_OK
            && graft.graft_backend_available(graft.GRAFT_CUDA) != 0;
    return new Status(true, available, available ? "" : graft.graft_last_error().getString());
  }

  static void require() {
    Status status = status();
    if (!status.available()) {
      throw new DeviceUnavailableException("cuda: " + status.reason());
    }
  }

  /** Takes the emulated plugin for this process; it then can have no real one. */
  static synchronized void requireEmulated() {
    if (emulated != null) {
      return;
    }
    String property = System.getProperty(EMULATED_LIBRARY);
    Path library = property == null ? null : Path.of(property).toAbsolutePath();
    if (library == null || !Files.isRegularFile(library)) {
      throw new DeviceUnavailableException(
          "emulate: the emulated CUDA device is for tests and not part of a release; build it by"
              + " cmake --build build/native --target graft_cuda_emulated and name its library in"
              + " the system property "
              + EMULATED_LIBRARY
              + (library == null ? "" : " (there is no " + library + ")"));
    }
    if (graft.graft_load_backend(graft.GRAFT_CUDA, library.toString()) != graft.GRAFT_OK) {
      throw new DeviceUnavailableException("emulate: " + graft.graft_last_error().getString());
    }
    emulated = library;
  }
}
