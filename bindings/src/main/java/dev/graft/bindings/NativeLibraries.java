package dev.graft.bindings;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;

/** Where native libraries of the platform jar lie once they are unpacked. */
public final class NativeLibraries {
  private NativeLibraries() {}

  /**
   * The absolute path of the CUDA plugin for {@code graft_load_backend}, unpacked to JavaCPP's
   * cache if need be; empty if this build or platform has none. Finding it loads nothing.
   *
   * @throws UncheckedIOException if it cannot be unpacked; the message names the library
   */
  public static Optional<Path> cudaPlugin() {
    return find("libgraft_cuda.so.1");
  }

  /**
   * The absolute path of one library of the platform jar.
   *
   * @param name a file name, for example {@code libgraft.so.1}
   */
  static Optional<Path> find(String name) {
    URL resource = NativeLibraries.class.getResource(Loader.getPlatform() + "/" + name);
    if (resource == null) {
      return Optional.empty();
    }
    File file;
    try {
      file = Loader.cacheResource(resource);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot unpack " + name + " from " + resource, e);
    }
    if (file == null) {
      throw new UncheckedIOException(
          new IOException("cannot unpack " + name + ": no cache folder can be written to"));
    }
    return Optional.of(file.toPath().toAbsolutePath());
  }
}
