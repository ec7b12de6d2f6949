package dev.graft.cli;

import dev.graft.ModelOptions;
import dev.graft.PreTrainedModel;
import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import dev.graft.model.AdapterFiles;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.runtime.Device;
import java.nio.file.Path;

/** What a model directory holds, asked before its weights are read. */
final class Models {
  private Models() {}

  static boolean isGpt2(Path directory) {
    return config(directory) instanceof Gpt2Config;
  }

  private static ModelConfig config(Path directory) {
    ModelDirectory model = described(directory);
    return ModelConfig.fromJson(model.file(ModelDirectory.CONFIG), model.readConfig());
  }

  /** Where config.json is: an adapter may leave it to its base. */
  private static ModelDirectory described(Path directory) {
    Path model = ModelDirectory.resolve(directory, Hub.Part.CONFIG).path();
    return new ModelDirectory(AdapterFiles.described(model));
  }

  static Task task(Path directory) {
    return PreTrainedModel.taskOf(directory);
  }

  /** What the outputs of a sequence classifier mean. */
  static ProblemType problemType(Path directory) {
    return config(directory) instanceof BertConfig bert
        ? bert.problemType()
        : ProblemType.SINGLE_LABEL_CLASSIFICATION;
  }

  /** Refuses a model a command cannot use. */
  static void require(Path directory, String command, String wanted, boolean fits) {
    if (!fits) {
      ModelDirectory model = described(directory);
      String architecture = model.readConfig().path("architectures").path(0).asText("nothing");
      throw InvalidInputException.of(
          model.file(ModelDirectory.CONFIG),
          command + " needs a " + wanted + ", this says it is " + architecture);
    }
  }

  /** Options of a model that is applied. */
  static ModelOptions options(ComputeOptions compute) {
    try (Device device = compute.open()) {
      return ModelOptions.defaults()
          .withDevice(compute.device())
          .withThreads(compute.threads)
          .withDType(compute.dtype(device));
    }
  }
}
