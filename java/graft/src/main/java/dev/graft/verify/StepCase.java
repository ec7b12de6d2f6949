package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.model.ModelConfig;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** A training step beside transformers' models, which pad to the longest sequence. */
final class StepCase implements SpeedCase {
  private static final DType DTYPE = DType.BFLOAT16;
  private final String name;
  private final int[] lengths;
  private final StepRun step;
  private final Map<String, ObjectNode> peers = new LinkedHashMap<>();

  StepCase(Device device, String name, ModelConfig config, Task task, int[] lengths) {
    this.name = name;
    this.lengths = lengths;
    step = new StepRun(device, config, task, DTYPE, lengths);
    for (String mode : new String[] {"eager", "compile"}) {
      peers.put(
          mode.equals("eager") ? "PyTorch" : "torch.compile",
          StepRun.pytorch(config, task, DTYPE, lengths, mode));
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public DType dtype() {
    return DTYPE;
  }

  @Override
  public String shape() {
    double mean = Arrays.stream(lengths).average().orElseThrow();
    String label = StepRun.label(lengths);
    return mean == lengths[0] ? label : label + String.format(Locale.ROOT, ", mean %.0f", mean);
  }

  @Override
  public void run() {
    step.run();
  }

  @Override
  public double flops() {
    return step.flops();
  }

  @Override
  public int tokens() {
    return step.tokens();
  }

  @Override
  public Map<String, ObjectNode> peers() {
    return peers;
  }

  @Override
  public void close() {
    step.close();
  }
}
