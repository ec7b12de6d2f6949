package dev.graft.cli;

import dev.graft.bindings.global.graft;
import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Locale;
import java.util.ServiceLoader;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** {@code graft}; see {@code graft --help}. */
@Command(
    name = "graft",
    description =
        "Transfer learning on the JVM: pretrain GPT-2 and BERT, fine-tune them, apply them.",
    versionProvider = Main.Version.class,
    subcommands = {
      QuickstartCommand.class,
      DoctorCommand.class,
      TokenizerCommand.class,
      CleanCommand.class,
      PretrainCommand.class,
      FinetuneCommand.class,
      EvaluateCommand.class,
      PredictCommand.class,
      GenerateCommand.class,
      SummarizeCommand.class,
      FillMaskCommand.class,
      AnswerCommand.class,
      EmbedCommand.class,
      TraceCommand.class,
      VerifyCommand.class
    },
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:done",
      "1:a defect of graft, or the machine failed",
      "2:bad input or usage, or too little memory; a line on standard error names the cause",
      "130:interrupted (Ctrl-C), after saving a checkpoint",
      "143:terminated (SIGTERM), after saving a checkpoint"
    },
    footer = {
      "A short tour:",
      "  graft quickstart",
      "  graft doctor",
      "  graft pretrain --type gpt2 --tokenizer-type char --train text.txt --out runs/gpt",
      "  graft generate --model runs/gpt 'Once upon a time'",
      "  graft pretrain --type bert --train text.txt --out runs/bert",
      "  graft finetune --model runs/bert --train labelled.csv --out runs/classifier",
      "  graft predict --model runs/classifier 'What is this about?'",
      "  graft COMMAND --help"
    })
public final class Main extends GraftCommand {
  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      order = 999,
      description = "Show stack traces of failures.")
  boolean verbose;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      order = 1001,
      description = "Show the version.")
  boolean version;

  public static void main(String[] args) {
    System.exit(run(args));
  }

  private static int run(String[] args) {
    // Numbers read the same everywhere.
    Locale.setDefault(Locale.ENGLISH);
    PrintWriter err = StandardStreams.err();
    try {
      CommandLine line = commandLine();
      line.setOut(StandardStreams.out());
      line.setErr(err);
      int code = line.execute(args);
      line.getOut().flush();
      return code;
    } catch (Throwable e) { // errors, which picocli lets through, and a failed last flush
      return Failures.report(e, err, Arrays.asList(args).contains("--verbose"));
    }
  }

  /** The command with every subcommand, those of other modules included. */
  static CommandLine commandLine() {
    Main main = new Main();
    CommandLine line = new CommandLine(main);
    boolean bench = false;
    for (SubcommandProvider provider : ServiceLoader.load(SubcommandProvider.class)) {
      CommandLine provided = new CommandLine(provider.command());
      line.addSubcommand(provided);
      bench |= provided.getCommandName().equals("bench");
    }
    if (!bench) {
      line.addSubcommand(new BenchNotice());
    }
    line.setCaseInsensitiveEnumValuesAllowed(true);
    // Help pages are printed outside the handler of failures.
    line.setExecutionStrategy(
        parsed -> {
          Hub.setListener(new DownloadDisplay(line.getErr()));
          try {
            return new CommandLine.RunLast().execute(parsed);
          } catch (StandardStreams.OutputFailed e) {
            return Failures.report(e, line.getErr(), main.verbose);
          }
        });
    line.setExecutionExceptionHandler(
        (e, failed, parsed) -> Failures.report(e, failed.getErr(), main.verbose));
    line.setParameterExceptionHandler((e, args) -> Failures.usage(e));
    return line;
  }

  @Override
  public Integer call() {
    spec.commandLine().usage(out());
    return ExitCode.DONE;
  }

  /** Stands for the benchmarks where their module is not on the class path. */
  @Command(name = "bench", description = "Measures the kernels beside libtorch.")
  static final class BenchNotice extends GraftCommand {
    @CommandLine.Unmatched String[] ignored;

    @Override
    public Integer call() {
      throw new InvalidInputException(
          "bench: its module is not on the class path; run ./graft bench, which builds it");
    }
  }

  /** What {@code --version} prints. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"graft " + graft.graft_version().getString()};
    }
  }
}
