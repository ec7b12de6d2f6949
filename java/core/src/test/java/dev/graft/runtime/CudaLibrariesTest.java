package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where NVIDIA's libraries are looked for; oracle: folders as its installers leave them. */
class CudaLibrariesTest {
  @TempDir Path root;
  private final Map<String, String> environment = new HashMap<>();

  private final List<Path> imported = new ArrayList<>();
  private int asked;

  private CudaLibraries libraries() {
    return new CudaLibraries(
        environment,
        root,
        root.resolve("home/me"),
        () -> {
          asked++;
          return imported;
        });
  }

  private Path install(String folder) throws IOException {
    Path file = root.resolve(folder).resolve(CudaLibraries.CUBLAS_LT);
    Files.createDirectories(file.getParent());
    return Files.writeString(file, "");
  }

  @Test
  void nowhere_isEmpty() {
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "usr/local/cuda/lib64",
        "usr/local/cuda-13.1/targets/x86_64-linux/lib",
        "usr/lib/x86_64-linux-gnu",
        "home/me/.local/lib/python3.12/site-packages/nvidia/cu13/lib",
        "usr/local/lib/python3.11/dist-packages/nvidia/cublas/lib",
        "venv/lib/python3.13/site-packages/nvidia/cu13/lib",
        "conda/lib",
        "toolkit/lib64",
        "on the path",
      })
  void everyInstaller_isFound(String folder) throws IOException {
    environment.put("VIRTUAL_ENV", root.resolve("venv").toString());
    environment.put("CONDA_PREFIX", root.resolve("conda").toString());
    environment.put("CUDA_PATH", root.resolve("toolkit").toString());
    environment.put("LD_LIBRARY_PATH", "/nowhere::" + root.resolve("on the path"));
    Path file = install(folder);
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).contains(file);
    assertThat(libraries().find(CudaLibraries.CUDNN)).isEmpty();
  }

  /** An environment of Python whose program is on the PATH, and no variable names it. */
  @Test
  void whatIsInNoUsualPlace_isAskedOfPython_once() throws IOException {
    imported.add(root.resolve("opt/torch/.venv/lib/python3.12/site-packages"));
    Path file = install("opt/torch/.venv/lib/python3.12/site-packages/nvidia/cu13/lib");
    CudaLibraries libraries = libraries();
    assertThat(libraries.find(CudaLibraries.CUBLAS_LT)).contains(file);
    assertThat(libraries.find(CudaLibraries.CUDNN)).isEmpty();
    assertThat(asked).isEqualTo(1);
    Path usual = install("usr/local/cuda/lib64");
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).contains(usual);
    assertThat(asked).isEqualTo(1);
  }

  @Test
  void whatTheUserNames_comesFirst_andTheNewestOfSeveral() throws IOException {
    install("usr/lib64");
    Path older = install("usr/local/cuda-13.0/lib64");
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).contains(older);
    Path newer = install("usr/local/cuda-13.1/lib64");
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).contains(newer);
    Path named = install("mine/lib64");
    environment.put("CUDA_HOME", root.resolve("mine").toString());
    assertThat(libraries().find(CudaLibraries.CUBLAS_LT)).contains(named);
  }
}
