package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The promise of checkpoints: whatever happens during a save, the newest complete one loads with
 * its bytes. Oracle: the bytes that were saved, a function of the step.
 */
class CheckpointStoreTest {
  private static final boolean FULL = Boolean.getBoolean("graft.full");
  private static final int BYTES = 3000;

  @TempDir Path folder;
  private FaultyFileSystem disk;
  private Path checkpoints;

  @BeforeEach
  void disk() {
    disk = new FaultyFileSystem(FileSystems.getDefault());
    checkpoints = disk.wrap(folder).resolve("run").resolve("checkpoints");
  }

  private static byte[] content(long step, String name) {
    byte[] bytes = new byte[BYTES];
    new Random(step * 31 + name.hashCode()).nextBytes(bytes);
    return bytes;
  }

  private static Consumer<Path> files(long step) {
    return into -> {
      for (String name :
          new String[] {"model.safetensors", "optimizer.safetensors", "state.json"}) {
        AtomicFiles.write(into.resolve(name), content(step, name));
      }
    };
  }

  private static void assertHolds(CheckpointStore.Checkpoint checkpoint, long step)
      throws IOException {
    assertThat(checkpoint.step()).isEqualTo(step);
    for (String name : new String[] {"model.safetensors", "optimizer.safetensors", "state.json"}) {
      assertThat(Files.readAllBytes(checkpoint.directory().resolve(name)))
          .isEqualTo(content(step, name));
    }
  }

  @Test
  void keepsTheNewestTwo() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 2);
    for (long step = 100; step <= 500; step += 100) {
      store.save(step, files(step));
    }
    assertThat(store.candidates()).containsExactly(store.path(500), store.path(400));
    assertHolds(store.newest().orElseThrow(), 500);
    assertThat(Durable.list(checkpoints)).hasSize(2);
  }

  @Test
  void noCheckpoint_isEmpty() {
    assertThat(new CheckpointStore(checkpoints, 2).newest()).isEmpty();
  }

  /** The crash comes before each single operation of a save; unsynced bytes are lost. */
  @Test
  void crashAtEveryOperation_newestCompleteLoads() throws IOException {
    CheckpointStore count = new CheckpointStore(disk.wrap(folder).resolve("count"), 2);
    for (long step = 1; step <= 3; step++) {
      count.save(step, files(step));
    }
    long before = disk.operations();
    count.save(4, files(4));
    long operations = disk.operations() - before;
    assertThat(operations).isGreaterThan(10);

    int repeats = FULL ? 50 : 3;
    int savedNew = 0;
    for (int repeat = 0; repeat < repeats; repeat++) {
      for (long stop = 0; stop <= operations; stop++) {
        Path place = disk.wrap(folder).resolve("crash-" + repeat + "-" + stop);
        CheckpointStore store = new CheckpointStore(place, 2);
        for (long step = 1; step <= 3; step++) {
          store.save(step, files(step));
        }
        disk.operationsLeft(stop);
        boolean returned = false;
        try {
          store.save(4, files(4));
          returned = true;
        } catch (InvalidInputException e) {
          assertThat(e).hasMessageContaining("planted");
        }
        disk.crash(new Random(repeat * 1000L + stop));

        CheckpointStore after = new CheckpointStore(place, 2);
        CheckpointStore.Checkpoint newest = after.newest().orElseThrow();
        // A save that returned is durable; one that did not may have been, whole, or not at all.
        if (returned || newest.step() == 4) {
          assertHolds(newest, 4);
          savedNew++;
        } else {
          assertHolds(newest, 3);
        }
        after.save(5, files(5));
        assertHolds(new CheckpointStore(place, 2).newest().orElseThrow(), 5);
      }
    }
    assertThat(savedNew).isGreaterThan(0).isLessThan((int) (repeats * operations));
  }

  /**
   * The disk is full after each number of bytes; the message names the cause, nothing half stays.
   */
  @Test
  void diskFullAtEveryByteCount_olderStaysAndNothingHalfWritten() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 2);
    store.save(1, files(1));
    long before = disk.bytesWritten();
    store.save(2, files(2));
    long size = disk.bytesWritten() - before;
    for (long room = 0; room < size; room += FULL ? 16 : 512) {
      disk.bytesLeft(room);
      assertThatThrownBy(() -> store.save(3, files(3)))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("No space left on device");
      assertThat(Durable.list(checkpoints)).containsExactly(store.path(1), store.path(2));
      assertHolds(store.newest().orElseThrow(), 2);
    }
    disk.bytesLeft(Long.MAX_VALUE);
    store.save(3, files(3));
    assertHolds(store.newest().orElseThrow(), 3);
  }

  @Test
  void damagedFiles_arePassedOverAndNamedIfNoneIsLeft() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 3);
    for (long step = 1; step <= 3; step++) {
      store.save(step, files(step));
    }
    Path three = folder.resolve("run/checkpoints/step-00000003/optimizer.safetensors");
    Files.write(three, Arrays.copyOf(Files.readAllBytes(three), BYTES - 1));
    assertHolds(store.newest().orElseThrow(), 2);

    Path two = folder.resolve("run/checkpoints/step-00000002/state.json");
    byte[] bytes = Files.readAllBytes(two);
    bytes[17] ^= 1;
    Files.write(two, bytes);
    assertHolds(store.newest().orElseThrow(), 1);

    Files.delete(folder.resolve("run/checkpoints/step-00000001/manifest.json"));
    assertThatThrownBy(store::newest)
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining(
            "step-00000003: optimizer.safetensors has 2,999 bytes, expected 3,000")
        .hasMessageContaining("step-00000002: state.json differs from its SHA-256")
        .hasMessageContaining("step-00000001: it has no manifest.json");
  }

  @Test
  void everySingleBitOfTheManifestMatters_orItStillDescribesTheFiles() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 2);
    store.save(7, files(7));
    Path manifest = folder.resolve("run/checkpoints/step-00000007/manifest.json");
    byte[] right = Files.readAllBytes(manifest);
    int refused = 0;
    for (int at = 0; at < right.length; at++) {
      byte[] wrong = right.clone();
      wrong[at] ^= 4;
      Files.write(manifest, wrong);
      // Whatever the byte was: an answer or a typed refusal, never anything else.
      refused += CheckpointStore.damage(store.path(7)).isPresent() ? 1 : 0;
    }
    assertThat(refused).isGreaterThan(right.length / 2);
    Files.write(manifest, right);
    assertThat(CheckpointStore.damage(store.path(7))).isEmpty();
  }

  @Test
  void manifestThatNamesFilesElsewhere_isRefused() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 2);
    store.save(7, files(7));
    Path manifest = folder.resolve("run/checkpoints/step-00000007/manifest.json");
    Files.writeString(manifest, Files.readString(manifest).replace("state.json", "../state.json"));
    assertThat(CheckpointStore.damage(store.path(7)).orElseThrow()).contains("unsafe file name");
  }

  /** A damaged newer one must not push a good older one out. */
  @Test
  void pruning_doesNotCountDamagedOnes() throws IOException {
    CheckpointStore store = new CheckpointStore(checkpoints, 2);
    store.save(100, files(100));
    store.save(200, files(200));
    Path broken = folder.resolve("run/checkpoints/step-00000200/state.json");
    Files.write(broken, new byte[3]);
    assertHolds(store.newest().orElseThrow(), 100);
    store.save(150, files(150));
    assertThat(store.candidates()).contains(store.path(100), store.path(150));
    store.save(200, files(200));
    assertHolds(store.newest().orElseThrow(), 200);
  }
}
