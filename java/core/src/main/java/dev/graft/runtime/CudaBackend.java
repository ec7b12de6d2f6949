package dev.graft.runtime;

import dev.graft.bindings.NativeLibraries;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_device_info;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;

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

  /**
   * A CUDA device.
   *
   * @param name as the driver calls it
   * @param memoryBytes of its own
   * @param capability 10 · major + minor, for example 90
   * @param driver CUDA version the driver supports, for example {@code "13.0"}
   */
  public record Card(String name, long memoryBytes, int capability, String driver) {}

  /** The CUDA devices, by their indices; none if {@link #status} says that there are none. */
  public static List<Card> cards() {
    if (!status().available()) {
      return List.of();
    }
    List<Card> cards = new ArrayList<>();
    try (IntPointer count = new IntPointer(1);
        graft_device_info info = new graft_device_info()) {
      dev.graft.bindings.Status.check(graft.graft_device_count(graft.GRAFT_CUDA, count));
      for (int i = 0; i < count.get(); i++) {
        Pointer.memset(info, 0, info.sizeof());
        info.struct_size(info.sizeof());
        dev.graft.bindings.Status.check(graft.graft_device_describe(graft.GRAFT_CUDA, i, info));
        int driver = info.driver_version();
        cards.add(
            new Card(
                info.name().getString(),
                info.memory_bytes(),
                info.capability(),
                driver / 1000 + "." + driver % 1000 / 10));
      }
    }
    return cards;
  }

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
      return new Status(
          false,
          false,
          "there are no CUDA kernels: the build had no nvcc, or the -gpu artifact is not on the"
              + " class path");
    }
    boolean available =
        graft.graft_load_backend(graft.GRAFT_CUDA, plugin.get().toString()) == graft.GRAFT_OK
            && graft.graft_backend_available(graft.GRAFT_CUDA) != 0;
    return new Status(true, available, available ? "" : graft.graft_last_error().getString());
  }

  /** The library contexts of CUDA devices come from; empty if none was loaded. */
  public static synchronized Optional<Path> library() {
    return emulated != null ? Optional.of(emulated) : NativeLibraries.cudaPlugin();
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
