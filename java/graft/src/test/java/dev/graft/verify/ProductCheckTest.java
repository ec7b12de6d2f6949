package dev.graft.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Epilogue.Kind;
import dev.graft.runtime.Gemm;
import dev.graft.runtime.UnsupportedEpilogueException;
import dev.graft.verify.ProductCheck.Case;
import dev.graft.verify.StepCheck.Finding;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** The check of products, on libraries that are right and on wrong ones. */
class ProductCheckTest {
  private static final Case ADDED =
      new Case(
          DType.FLOAT32, DType.FLOAT32, true, false, 9, 7, 33, 3, true, Kind.BIAS, DType.FLOAT32);

  private static boolean right(List<Finding> findings) {
    return findings.stream().allMatch(Finding::right);
  }

  @Test
  void products_ofTheProcessor_areRight() {
    try (Device cpu = Device.cpu(1)) {
      Set<String> names = new HashSet<>();
      for (Case what : ProductCheck.cases()) {
        assertThat(names.add(what.toString())).as(what.toString()).isTrue();
        if (what.kind() == Kind.NONE || what.kind() == Kind.BIAS) {
          assertThat(ProductCheck.compare(cpu, what)).as(what.toString()).allMatch(Finding::right);
        } else {
          assertThatThrownBy(() -> ProductCheck.compare(cpu, what))
              .isInstanceOf(UnsupportedEpilogueException.class);
        }
      }
      assertThat(names).hasSizeGreaterThan(80);
    }
  }

  @Test
  void products_ofTheEmulatedCard_areRight() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    try (Device device = Device.emulated()) {
      for (Case what : ProductCheck.cases()) {
        assertThat(ProductCheck.compare(device, what)).as(what.toString()).allMatch(Finding::right);
      }
    }
  }

  @Test
  void wrongLibraries_areFound() {
    try (Device cpu = Device.cpu(1)) {
      assertThat(right(changed(cpu, p -> p))).isTrue();
      assertThat(right(changed(cpu, p -> product(p, p.c(), false, p.epilogue())))).isFalse();
      assertThat(right(changed(cpu, p -> product(p, p.c(), true, Epilogue.NONE)))).isFalse();
      // Written one column too far left.
      assertThat(
              changed(
                  cpu,
                  p -> {
                    Gemm.Columns left =
                        new Gemm.Columns(p.c().tensor(), p.c().first() - 1, p.c().count());
                    return product(p, left, true, p.epilogue());
                  }))
          .anyMatch(f -> f.tensor().equals("a column beside the result") && !f.right());
    }
  }

  /** As large as TF32 makes them. */
  @Test
  void smallErrors_areFound() {
    try (Device cpu = Device.cpu(1)) {
      Gemm gemm =
          new Changed(cpu.gemm(), p -> p) {
            @Override
            public Call prepare(Product product) {
              Call call = super.prepare(product);
              return new Call() {
                @Override
                public void run() {
                  call.run();
                  long at = product.c().first();
                  float value = product.c().tensor().floats(at, 1)[0];
                  product.c().tensor().put(at, new float[] {value + 1e-4f});
                }

                @Override
                public void close() {
                  call.close();
                }
              };
            }
          };
      assertThat(right(ProductCheck.compare(cpu, gemm, ADDED))).isFalse();
    }
  }

  private static List<Finding> changed(Device device, UnaryOperator<Gemm.Product> change) {
    return ProductCheck.compare(device, new Changed(device.gemm(), change), ADDED);
  }

  private static Gemm.Product product(
      Gemm.Product p, Gemm.Columns c, boolean accumulate, Epilogue epilogue) {
    return new Gemm.Product(
        p.a(), p.transposeA(), p.b(), p.transposeB(), c, accumulate, p.scale(), epilogue);
  }

  /** Products that are not the ones asked for. */
  private static class Changed implements Gemm {
    private final Gemm gemm;
    private final UnaryOperator<Product> change;

    Changed(Gemm gemm, UnaryOperator<Product> change) {
      this.gemm = gemm;
      this.change = change;
    }

    @Override
    public Call prepare(Product product) {
      return gemm.prepare(change.apply(product));
    }

    @Override
    public String description() {
      return gemm.description();
    }

    @Override
    public void close() {}
  }
}
