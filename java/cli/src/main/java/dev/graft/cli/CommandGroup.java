package dev.graft.cli;

import picocli.CommandLine.ParameterException;

/** A command that is only the name above its subcommands. */
abstract class CommandGroup extends GraftCommand {
  @Override
  public Integer call() {
    throw new ParameterException(
        spec.commandLine(),
        "a command is missing: " + String.join(", ", spec.subcommands().keySet()));
  }
}
