package dev.graft.cli;

/** A subcommand from another module, found by {@link java.util.ServiceLoader}. */
public interface SubcommandProvider {
  /** An object annotated as a picocli command. */
  Object command();
}
