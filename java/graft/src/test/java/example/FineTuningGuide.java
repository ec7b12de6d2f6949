package example;

import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.FewLabels;
import dev.graft.FewLabelsResult;
import dev.graft.FitResult;
import dev.graft.model.Lora;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;

/** The code of docs/guides/fine-tuning.md, so that it compiles. */
final class FineTuningGuide {
  private FineTuningGuide() {}

  static FitResult lora(BertForSequenceClassification model, Dataset train, Dataset validation) {
    TrainingOptions options =
        TrainingOptions.finetuning().lora(Lora.rank(8).targets("query", "value")).build();
    FitResult result = model.fit(train, validation, options);
    model.saveAdapter(Path.of("adapter")); // for PEFT, and for fromPretrained
    model.mergeAdapter(); // or keep it apart: it costs two thin products a layer
    model.savePretrained(Path.of("merged"));
    return result;
  }

  static void fewLabels(Dataset train, Dataset test) {
    FewLabelsResult few =
        FewLabels.of(Path.of("my-bert"), train, test)
            .perClass(16, 64)
            .seeds(5)
            .run(trial -> System.err.println(trial));
    System.out.println(few.table());
  }
}
