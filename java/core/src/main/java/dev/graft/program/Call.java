package dev.graft.program;

/** One prepared native call of a program. */
interface Call extends AutoCloseable {
  /** What a profile shows. */
  String name();

  /** Writes the operands' addresses, which are known from now on. */
  void bind();

  /** Runs the call on the operands bound. Allocates nothing. */
  void run();

  @Override
  void close();
}
