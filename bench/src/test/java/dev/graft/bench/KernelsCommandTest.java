package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class KernelsCommandTest {
  private static final KernelBench.Result AHEAD =
      new KernelBench.Result("gemm", "fp32", "M4 N4 K4", 0.001, 0.002, "pytorch", 0.0015, 0.5);
  private static final KernelBench.Result BEHIND =
      new KernelBench.Result(
          "add_norm forward", "bf16", "8x8", 0.002, 0.001, null, Double.NaN, 0.5);

  @TempDir Path folder;

  @Test
  void kernelsBelowTheRatio_areFound() {
    assertThat(KernelsCommand.behind(List.of(AHEAD, BEHIND), 1.0)).containsExactly(BEHIND);
    assertThat(KernelsCommand.behind(List.of(AHEAD, BEHIND), 2.5)).containsExactly(AHEAD, BEHIND);
    assertThat(KernelsCommand.behind(List.of(AHEAD, BEHIND), null)).isEmpty();
  }

  /** Nothing is a thousand times as fast as the same vendor's product. */
  @Test
  void aKernelThatIsBehind_makesTheCommandFail() {
    CommandLine bench = new CommandLine(new BenchCommand());
    String[] gemm = {"kernels", "--op", "gemm", "--dtype", "fp32", "--seconds", "0.01"};
    assertThat(bench.execute(with(gemm, "--at-least", "1000"))).isEqualTo(KernelsCommand.BEHIND);
    assertThat(bench.execute(with(gemm, "--at-least", "0.001"))).isZero();
  }

  private static String[] with(String[] arguments, String... more) {
    String[] all = Arrays.copyOf(arguments, arguments.length + more.length);
    System.arraycopy(more, 0, all, arguments.length, more.length);
    return all;
  }

  @Test
  void anOpThatIsNotThere_isSaid() {
    KernelsCommand command = CommandLine.populateCommand(new KernelsCommand(), "--op", "nothing");
    assertThatThrownBy(command::call)
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("nothing");
  }

  @Test
  void theChart_isAPictureWithBarsOfBothPeers() throws IOException {
    Path picture = folder.resolve("ratios.png");
    assertThat(RatioChart.write(List.of(AHEAD, BEHIND), picture)).isTrue();
    BufferedImage image = ImageIO.read(picture.toFile());
    assertThat(colours(image)).contains(0xFFDD8452, 0xFF4C72B0);
  }

  private static List<Integer> colours(BufferedImage image) {
    return Arrays.stream(
            image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth()))
        .distinct()
        .boxed()
        .toList();
  }
}
