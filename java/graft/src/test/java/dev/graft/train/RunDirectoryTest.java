package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** One writer a run directory, and no run overwritten by accident. */
class RunDirectoryTest {
  @TempDir Path folder;

  /** Holds the directory named by its argument until its input ends. */
  static final class Holder {
    public static void main(String[] arguments) throws IOException {
      try (RunDirectory held = RunDirectory.open(Path.of(arguments[0]), false)) {
        System.out.println("held " + held.path());
        System.out.flush();
        System.in.read();
      }
    }
  }

  @Test
  void secondWriterOfTheProcess_isRefused() {
    try (RunDirectory first = RunDirectory.open(folder, false)) {
      assertThat(first.path()).isEqualTo(folder);
      assertThatThrownBy(() -> RunDirectory.open(folder, false))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("another run is writing here");
    }
    RunDirectory.open(folder, false).close();
  }

  @Test
  void writerOfAnotherProcess_isRefusedUntilItIsKilled() throws Exception {
    Process other =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Holder.class.getName(),
                folder.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      assertThat(other.inputReader().readLine()).startsWith("held");
      assertThatThrownBy(() -> RunDirectory.open(folder, false))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("another run is writing here");
    } finally {
      other.destroyForcibly();
      assertThat(other.waitFor(30, TimeUnit.SECONDS)).isTrue();
    }
    RunDirectory.open(folder, false).close();
  }

  @Test
  void resumeWithoutARun_saysSo() {
    assertThatThrownBy(() -> RunDirectory.open(folder.resolve("none"), true))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("there is no run to resume");
    assertThat(folder.resolve("none")).doesNotExist();
  }

  @Test
  void newRunOverOneWithCheckpoints_isRefused() throws IOException {
    Files.createDirectories(folder.resolve("checkpoints/step-00000010"));
    assertThatThrownBy(() -> RunDirectory.open(folder, false))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("holds a run with checkpoints");
  }

  @Test
  void pathThatIsAFile_isRefused() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "x");
    assertThatThrownBy(() -> RunDirectory.open(file, false))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining(file.toString());
  }

  @Test
  void failedBeginning_leavesTheFolderAsItWas() throws IOException {
    Path fresh = folder.resolve("fresh");
    Path used = folder.resolve("used");
    Files.createDirectories(used.resolve("data"));
    Files.writeString(used.resolve("data/mine.txt"), "mine");
    for (Path run : List.of(fresh, used)) {
      assertThatThrownBy(
              () ->
                  RunDirectory.begin(
                      run,
                      () -> {
                        AtomicFiles.write(run.resolve("settings.json"), "{}");
                        AtomicFiles.write(run.resolve("data/train/tokens"), "1");
                        throw new IllegalStateException("refused");
                      }))
          .hasMessage("refused");
    }
    assertThat(fresh).doesNotExist();
    assertThat(used.resolve("settings.json")).doesNotExist();
    assertThat(used.resolve("data/mine.txt")).hasContent("mine");
  }
}
