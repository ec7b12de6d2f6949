package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.runtime.CublasLt;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.CudaLibraries;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What doctor says of CUDA: cards, driver, kernels and NVIDIA's libraries. */
final class CudaReport {
  private static final double GIB = 1 << 30;

  private CudaReport() {}

  static void put(ObjectNode report) {
    CudaBackend.Status status = CudaBackend.status();
    List<CudaBackend.Card> cards = CudaBackend.cards();
    report.put("cuda_card", Machine.hasCard() || !cards.isEmpty());
    report.put("cuda_plugin", status.built());
    report.put("cuda", status.available() ? "usable" : status.reason());
    if (!cards.isEmpty()) {
      report.put("cuda_driver", "for CUDA up to " + cards.get(0).driver());
    }
    for (int i = 0; i < cards.size(); i++) {
      CudaBackend.Card card = cards.get(i);
      report.put(
          "cuda:" + i,
          String.format(
              "%s, %.0f GiB, compute capability %d.%d",
              card.name(),
              card.memoryBytes() / GIB,
              card.capability() / 10,
              card.capability() % 10));
    }
    CudaLibraries libraries = CudaLibraries.ofMachine();
    report.put("cublaslt", cublasLt(status.available(), libraries));
    report.put("cudnn", place(libraries.find(CudaLibraries.CUDNN), CudaLibraries.CUDNN));
  }

  /** It is loaded only where a card can use it: without a driver it cannot be. */
  private static String cublasLt(boolean usable, CudaLibraries libraries) {
    Optional<Path> found = libraries.find(CudaLibraries.CUBLAS_LT);
    if (!usable || found.isEmpty()) {
      return place(found, CudaLibraries.CUBLAS_LT);
    }
    CublasLt.Status status = CublasLt.status();
    return status.available() ? status.version() + " in " + status.library() : status.reason();
  }

  private static String place(Optional<Path> found, String soname) {
    return found.map(Path::toString).orElse(soname + " is in none of the usual places");
  }

  /** The next thing to install on a machine with a card; empty if nothing is missing. */
  static Optional<String> advice() {
    CudaBackend.Status status = CudaBackend.status();
    if (!Machine.hasCard() && !status.available()) {
      return Optional.empty();
    }
    if (!status.built()) {
      return Optional.of(
          "There is a card, but the CUDA kernels were not built: nvcc is missing."
              + " scripts/install-nvcc.sh installs it; the next start builds them.");
    }
    if (!status.available()) {
      return Optional.of(
          "There is a card, but CUDA cannot use it (see above): install NVIDIA's driver, on Debian"
              + " or Ubuntu by apt-get install nvidia-driver.");
    }
    CublasLt.Status products = CublasLt.status();
    return products.available()
        ? Optional.empty()
        : Optional.of(
            "The card is not used, for cuBLASLt is missing (see above): " + CublasLt.INSTALL);
  }
}
