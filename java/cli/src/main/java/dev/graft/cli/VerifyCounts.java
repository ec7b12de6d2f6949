package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;

/** How one part of {@code verify} went. */
final class VerifyCounts {
  int passed;
  int failed;
  int skipped;
  final List<String> failures = new ArrayList<>();

  /** One more, with what is wrong with it. */
  void count(List<String> wrong) {
    if (wrong.isEmpty()) {
      passed++;
    } else {
      failed++;
      failures.addAll(wrong);
    }
  }

  void fail(String line) {
    failed++;
    failures.add(line);
  }

  void put(ObjectNode to) {
    to.put("passed", passed).put("failed", failed).put("skipped", skipped);
    failures.forEach(to.putArray("failures")::add);
  }

  @Override
  public String toString() {
    return passed + " passed, " + failed + " failed, " + skipped + " skipped";
  }
}
