package dev.graft.model;

/** What the outputs of a sequence classifier mean; {@code problem_type} in config.json. */
public enum ProblemType {
  /** One of several classes: softmax, cross-entropy. */
  SINGLE_LABEL_CLASSIFICATION("single_label_classification"),
  /** Any number of labels: a sigmoid each, binary cross-entropy. */
  MULTI_LABEL_CLASSIFICATION("multi_label_classification"),
  /** Numbers: squared error. */
  REGRESSION("regression");

  private final String publishedName;

  ProblemType(String publishedName) {
    this.publishedName = publishedName;
  }

  /** As config.json has it. */
  public String publishedName() {
    return publishedName;
  }

  /** Whether targets are numbers, one an output, rather than the id of a class. */
  public boolean hasFloatTargets() {
    return this != SINGLE_LABEL_CLASSIFICATION;
  }
}
