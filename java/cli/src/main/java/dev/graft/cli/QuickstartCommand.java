package dev.graft.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import dev.graft.quickstart.Quickstart;
import dev.graft.quickstart.QuickstartListener;
import dev.graft.quickstart.QuickstartOptions;
import dev.graft.quickstart.QuickstartOptions.Scale;
import dev.graft.quickstart.QuickstartResult;
import dev.graft.train.CancellationToken;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code graft quickstart}. */
@Command(
    name = "quickstart",
    description = {
      "Trains two small transformers in a few minutes on two cores, on texts that come with Graft:"
          + " a GPT that learns to write Shakespeare letter by letter, and a BERT that learns 77"
          + " intents of bank customers from ten labelled questions each, once after pretraining on"
          + " unlabelled questions and once from scratch.",
      "",
      "Keeps models, loss curves and figures. Downloads nothing."
    },
    footer = {
      "Examples:",
      "  graft quickstart",
      "  graft quickstart --seed 2 --out runs/second",
      "  graft quickstart --json | tail -n 1"
    })
final class QuickstartCommand extends GraftCommand {
  private static final Path RUNS = Path.of("runs");

  @Option(
      names = "--out",
      paramLabel = "DIR",
      order = 1,
      description =
          "A new or empty folder for models, curves and figures (default: runs/quickstart, or the"
              + " next free name runs/quickstart-2 ...).")
  Path out;

  @Option(
      names = "--seed",
      paramLabel = "N",
      order = 2,
      description = "Another seed, another run (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  long seed;

  @Option(
      names = "--threads",
      paramLabel = "N",
      order = 901,
      description = "Processor threads (default: all).",
      defaultValue = "0")
  int threads;

  @Option(
      names = "--json",
      order = 950,
      description = "Print JSON lines; the last one holds the figures.")
  boolean json;

  @Override
  public Integer call() {
    CancellationToken token = new CancellationToken();
    QuickstartOptions options =
        new QuickstartOptions(out == null ? freeFolder() : out, seed, threads, Scale.full(), token);
    QuickstartListener listener =
        json ? new QuickstartLines(this::json) : new QuickstartStory(out());
    // What becomes of the weights of each fine-tuning would drown what is told.
    Logger log = (Logger) LoggerFactory.getLogger("dev.graft");
    Level level = log.getLevel();
    log.setLevel(Level.WARN);
    try (Interrupts interrupts = new Interrupts(token, err())) {
      Optional<QuickstartResult> result = Quickstart.run(options, listener);
      if (result.isEmpty()) {
        err().println("graft: stopped; what was done lies in " + options.directory());
        return interrupts.exitCode();
      }
      if (json) {
        json(result.get().toJson());
      } else {
        ((QuickstartStory) listener).end(result.get());
      }
      return ExitCode.DONE;
    } finally {
      log.setLevel(level);
    }
  }

  private static Path freeFolder() {
    Path folder = RUNS.resolve("quickstart");
    for (int n = 2; Files.exists(folder); n++) {
      folder = RUNS.resolve("quickstart-" + n);
    }
    return folder;
  }
}
