package dev.graft.cli;

/**
 * What {@code verify} can do, in its order: the slowest last, where a machine is had for a time.
 */
enum VerifyPart {
  TESTS("native_tests"),
  PRODUCTS("products"),
  STEPS("training_steps"),
  REPEATS("repeats"),
  SPEED("speed"),
  SANITIZER("sanitizer");

  private final String field;

  VerifyPart(String field) {
    this.field = field;
  }

  /** Where it stands in the report. */
  String field() {
    return field;
  }
}
