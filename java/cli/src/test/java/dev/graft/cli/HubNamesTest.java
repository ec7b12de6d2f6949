package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.io.Json;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A hub's name after --model and --tokenizer, out of a cache as the Python client leaves it. */
class HubNamesTest {
  private static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  @TempDir Path folder;
  private String before;

  /** tribuo-tinybert as "org/tiny", at main and v1. */
  @BeforeEach
  void cache() throws IOException {
    before = System.setProperty("HF_HUB_CACHE", folder.toString());
    Path model = folder.resolve("models--org--tiny");
    Path snapshot = Files.createDirectories(model.resolve("snapshots/" + COMMIT));
    Files.createDirectories(model.resolve("blobs"));
    try (Stream<Path> files = Files.list(Cli.MODELS.resolve("tribuo-tinybert"))) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        Files.copy(file, model.resolve("blobs/of-" + name));
        Files.createSymbolicLink(snapshot.resolve(name), Path.of("../../blobs/of-" + name));
      }
    }
    Cli.write(model.resolve("refs/main"), COMMIT);
    Cli.write(model.resolve("refs/v1"), COMMIT);
  }

  @AfterEach
  void restore() {
    if (before == null) {
      System.clearProperty("HF_HUB_CACHE");
    } else {
      System.setProperty("HF_HUB_CACHE", before);
    }
  }

  @Test
  void tokenizer_isThatOfTheDirectory() {
    Path input = Cli.write(folder.resolve("in.txt"), "The birds sang.");
    Object local = Cli.MODELS.resolve("tribuo-tinybert");
    String ids = encoded(local, input);
    assertThat(ids).isNotEmpty();
    for (String name : new String[] {"org/tiny", "org/tiny@v1", "org/tiny@" + COMMIT}) {
      assertThat(encoded(name, input)).as(name).isEqualTo(ids);
    }
  }

  private static String encoded(Object tokenizer, Path input) {
    return Cli.run("tokenizer", "encode", "--tokenizer", tokenizer, "--input", input, "--json")
        .done()
        .out();
  }

  @Test
  void finetune_beginsWithAName_andGoesOnFromTheCommit() {
    Path train = Cli.reviews(folder.resolve("train.csv"), 16);
    Path run = folder.resolve("run");
    Cli.run(
            "finetune",
            "--model",
            "org/tiny",
            "--train",
            train,
            "--steps",
            "2",
            "--threads",
            "1",
            "--out",
            run)
        .done();
    assertThat(Json.readObject(run.resolve("settings.json")).get("model").asText())
        .isEqualTo(folder.resolve("models--org--tiny/snapshots/" + COMMIT).toString());
    Cli.run("predict", "--model", run, "the birds sang 1").done();
  }

  @Test
  void whatIsNotThere_isRefusedInOneLine() {
    for (String command : new String[] {"predict", "generate", "fill-mask"}) {
      Cli.run(command, "--model", "org/none", "x")
          .refused("org/none: no such directory", "HF_HUB_OFFLINE");
      Cli.run(command, "--model", "org/tiny@v2", "x").refused("org/tiny@v2: no such directory");
      Cli.run(command, "--model", "org/../tiny", "x").refused("no such directory, and no model's");
      Cli.run(command, "--model", "com1", "x").refused("'com1' is a device on Windows");
    }
  }

  /** Not on a terminal, as here: lines. */
  @Test
  void download_isShownInLines() {
    StringWriter err = new StringWriter();
    DownloadDisplay display = new DownloadDisplay(new PrintWriter(err));
    display.onStart("org/tiny", 1, 500_000, 0);
    display.onProgress("config.json", 500_000);
    display.onEnd(true);
    display.onStart("org/tiny", 3, 440_000_000, 1_500_000);
    display.onProgress("config.json", 1_500_100);
    display.onNote("org/tiny: cannot reach the hub; trying again");
    display.onEnd(true);
    assertThat(err.toString().lines())
        .containsExactly(
            "fetching org/tiny: 3 files, 440 MB, of which 1.5 MB are there",
            "org/tiny: cannot reach the hub; trying again",
            "fetched 440 MB in 0:00");
  }
}
