package dev.graft.bench;

import dev.graft.cli.SubcommandProvider;

/** Gives {@code graft} its {@code bench}. */
public final class BenchProvider implements SubcommandProvider {
  @Override
  public Object command() {
    return new BenchCommand();
  }
}
