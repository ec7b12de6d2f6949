package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.bindings.NativeLibraries;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** What a user is told about CUDA; oracle: the files that a driver and a build leave. */
class CudaBackendTest {
  @Test
  void withoutDriver_theReasonNamesIt() {
    assumeTrue(NativeLibraries.cudaPlugin().isPresent(), "built with nvcc");
    assumeTrue(!Files.exists(Path.of("/proc/driver/nvidia/version")), "no NVIDIA driver");
    CudaBackend.Status status = CudaBackend.status();
    assertThat(status.built()).isTrue();
    assertThat(status.available()).isFalse();
    assertThat(status.reason()).contains("NVIDIA driver");
    assertThat(CudaBackend.status()).isEqualTo(status);
  }

  @Test
  void reasonIsGiven_exactlyWhenItCannotBeUsed() {
    CudaBackend.Status status = CudaBackend.status();
    assertThat(status.built()).isEqualTo(NativeLibraries.cudaPlugin().isPresent());
    assertThat(status.reason().isEmpty()).isEqualTo(status.available());
    assertThat(status.reason()).doesNotContain("\n");
  }
}
