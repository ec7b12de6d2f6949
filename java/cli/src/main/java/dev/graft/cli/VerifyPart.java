package dev.graft.cli;

/** What {@code verify} can do. */
enum VerifyPart {
  TESTS("native_tests"),
  SANITIZER("sanitizer"),
  PRODUCTS("products"),
  STEPS("training_steps"),
  REPEATS("repeats"),
  SPEED("speed");

  private final String field;

  VerifyPart(String field) {
    this.field = field;
  }

  /** Where it stands in the report. */
  String field() {
    return field;
  }
}
