package dev.graft.cli;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.Json;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What every command has: its help, its streams, and the look of its help page. */
@Command(
    descriptionHeading = "%n",
    parameterListHeading = "%n",
    optionListHeading = "%nOptions:%n",
    commandListHeading = "%nCommands:%n",
    footerHeading = "%n",
    synopsisSubcommandLabel = "COMMAND",
    abbreviateSynopsis = true,
    sortOptions = false)
abstract class GraftCommand implements Callable<Integer> {
  @Spec CommandSpec spec;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      order = 1000,
      description = "Show this help.")
  boolean help;

  /** Results. */
  PrintWriter out() {
    return spec.commandLine().getOut();
  }

  /** Progress and remarks. */
  PrintWriter err() {
    return spec.commandLine().getErr();
  }

  /** A line of JSON, on its way at once. */
  void json(JsonNode node) {
    out().println(Json.line(node));
  }
}
