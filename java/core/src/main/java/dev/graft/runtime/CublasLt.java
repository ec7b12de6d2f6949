package dev.graft.runtime;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.cuda.global.cublas;
import org.bytedeco.javacpp.Loader;

/** The machine's cuBLASLt, which multiplies matrices on CUDA devices. */
public final class CublasLt {
  /** What installs it, for users. */
  public static final String INSTALL =
      "python3 -m pip install --user nvidia-cublas nvidia-cuda-runtime";

  private static final int MAJOR = 13;
  private static Status loaded;

  private CublasLt() {}

  /**
   * What this machine has.
   *
   * @param library where it lies; null if it is missing
   * @param version for example {@code "13.1.0"}; null until it could be loaded
   * @param reason why it cannot be used, in words for a user; empty if it can
   */
  public record Status(Path library, String version, String reason) {
    public boolean available() {
      return reason.isEmpty();
    }
  }

  /** Finds and loads it at the first call; loading needs NVIDIA's driver. */
  public static synchronized Status status() {
    if (loaded == null) {
      loaded = load(CudaLibraries.ofMachine());
    }
    return loaded;
  }

  static void require() {
    Status status = status();
    if (!status.available()) {
      throw new DeviceUnavailableException("cuda: " + status.reason());
    }
  }

  private static Status load(CudaLibraries libraries) {
    Path library = libraries.find(CudaLibraries.CUBLAS_LT).orElse(null);
    // In the order in which they need each other: the loader then takes these by their sonames,
    // wherever they lie.
    for (String soname :
        List.of(CudaLibraries.RUNTIME, CudaLibraries.CUBLAS_LT, CudaLibraries.CUBLAS)) {
      Path found = libraries.find(soname).orElse(null);
      if (found == null) {
        return new Status(
            library,
            null,
            soname
                + " is missing: it is in no CUDA install, library path or Python package; "
                + INSTALL
                + " installs it");
      }
      try {
        System.load(found.toAbsolutePath().toString());
      } catch (UnsatisfiedLinkError e) {
        return new Status(library, null, found + " cannot be loaded: " + firstLine(e));
      }
    }
    try {
      Loader.load(cublas.class);
    } catch (UnsatisfiedLinkError e) {
      return new Status(library, null, "cuBLASLt cannot be called: " + firstLine(e));
    }
    long version = cublas.cublasLtGetVersion();
    String text = String.format("%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return version / 10000 == MAJOR
        ? new Status(library, text, "")
        : new Status(library, text, "cuBLASLt " + text + " is not of version " + MAJOR);
  }

  /** JavaCPP's own message is that of its last try; the cause tells what the loader missed. */
  private static String firstLine(Throwable e) {
    Throwable cause = e.getCause() == null ? e : e.getCause();
    return String.valueOf(cause.getMessage()).lines().findFirst().orElse("no reason given");
  }
}
