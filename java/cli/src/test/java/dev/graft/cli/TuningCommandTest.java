package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.cli.Cli.Result;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Adapters, layers, selection and few labels by commands alone. */
class TuningCommandTest {
  @TempDir static Path folder;
  private static Path text;
  private static Path bert;
  private static Path reviews;

  @BeforeAll
  static void pretrain() {
    text = Cli.text(folder.resolve("text.txt"));
    reviews = Cli.reviews(folder.resolve("reviews.csv"), 60);
    bert = folder.resolve("runs/bert");
    Cli.run(
            Cli.line(
                List.of("pretrain", "--type", "bert", "--train", text, "--out", bert),
                List.of("--documents", "blank-line", "--vocab-size", 60, "--steps", 60),
                List.of("--lr", "3e-3"),
                Cli.SMALL))
        .done();
  }

  private static Result finetune(String run, Object... more) {
    return Cli.run(
        Cli.line(
            List.of("finetune", "--model", bert, "--train", reviews),
            List.of("--out", folder.resolve("runs").resolve(run)),
            List.of("--threads", "1", "--dtype", "fp32", "--lr", "3e-3"),
            Arrays.asList(Cli.line(more))));
  }

  @Test
  void lora_endsWithAMergedModelAndAnAdapterThatAnswerAlike() {
    Result result =
        finetune("lora", "--lora", 2, "--lora-targets", "all-linear", "--epochs", 4, "--json");
    List<ObjectNode> lines = result.done().json();
    ObjectNode end = lines.get(lines.size() - 1);
    assertThat(result.err()).contains("in adapters", "gradients and moments instead of");
    assertThat(end.get("trained_parameters").asLong()).isBetween(100L, 10_000L);
    assertThat(end.get("weights_step").asLong()).isEqualTo(end.get("best_step").asLong());
    Path run = folder.resolve("runs/lora");
    Result merged = predict(run);
    assertThat(predict(run.resolve("adapter")).out()).isEqualTo(merged.out());
    finetune("lora", "--lora", 2, "--lora-targets", "all-linear", "--epochs", 4, "--resume").done();
  }

  private static Result predict(Path model) {
    return Cli.run(
            Cli.line(
                "predict", "--model", model, "--threads", 1, "--dtype", "fp32", "the birds sang 1"))
        .done();
  }

  @Test
  void layersAndSelection_areTakenFromTheCommandLine() {
    List<ObjectNode> lines =
        finetune(
                "layers",
                List.of("--freeze", "embeddings,*.LayerNorm.*", "--layer-decay", 0.8),
                List.of("--unfreeze-every", 5, "--eval-every", 4, "--patience", 1),
                List.of("--min-delta", 0.9, "--metric", "f1_macro", "--class-weights", "balanced"),
                List.of("--label-smoothing", 0.1, "--epochs", 9, "--json"))
            .done()
            .json();
    ObjectNode end = lines.get(lines.size() - 1);
    assertThat(end.get("stopped_early").asBoolean()).isTrue();
    assertThat(end.get("steps").asLong()).isEqualTo(8);
    ObjectNode tuning =
        (ObjectNode)
            Json.readObject(folder.resolve("runs/layers/run.json")).get("options").get("tuning");
    assertThat(tuning.toString())
        .contains("\"layerDecay\":0.8", "\"*.LayerNorm.*\"", "\"unfreezeEvery\":5");
  }

  @Test
  void fewLabels_printATableAndKeepItAsJson() {
    Object[] few = {"--few-labels", "2,4", "--seeds", 2, "--steps", 4, "--valid", reviews};
    Result table = finetune("few", few).done();
    assertThat(table.lines()).hasSize(3);
    assertThat(table.out()).contains("labels/class", "from scratch", " ± ");
    assertThat(table.err()).contains("4 a class, seed 2, fresh weights, rate 0.0030: accuracy ");
    ObjectNode kept = Json.readObject(folder.resolve("runs/few/few-labels.json"));
    assertThat(kept.get("rows")).hasSize(2);
    assertThat(kept.get("rows").get(1).get("pretrained").get("runs")).hasSize(2);
    List<ObjectNode> lines = finetune("few", Cli.line(Arrays.asList(few), "--json")).done().json();
    assertThat(lines).hasSize(2 * 2 * 2 + 1);
    assertThat(lines.get(8)).isEqualTo(kept);
  }

  @Test
  void adaptOn_readsTheTextsFirst() {
    Result result =
        finetune(
            "adapted",
            List.of("--adapt-on", text, "--documents", "blank-line", "--adapt-epochs", 1),
            List.of("--epochs", 1));
    assertThat(result.done().err()).contains("before the fine-tuning");
    Path run = folder.resolve("runs/adapted");
    assertThat(run.resolve("adaptation/model/model.safetensors")).exists();
    assertThat(Json.readObject(run.resolve("settings.json")).get("model").asText())
        .endsWith("adaptation/model");
  }

  @Test
  void wrongOptions_areRefusedInALine() {
    finetune("no", "--lora-alpha", 4).refused("--lora: the rank is missing");
    finetune("no", "--lora", 0).refused("--lora: rank: expected 1 to 65,536, got 0");
    finetune("no", "--lora", 4, "--lora-targets", "c_attn")
        .refused("no linear layer is called c_attn", "query");
    finetune("no", "--freeze", "7").refused("freeze: expected at most 2 layers, got 7");
    finetune("no", "--layer-decay", 1.5).refused("--layer-decay: expected above 0 and at most 1");
    finetune("no", "--unfreeze-every", "week").refused("--unfreeze-every: expected a number");
    finetune("no", "--eval-every", "-3").refused("--eval-every: expected a number");
    finetune("no", "--class-weights", "good").refused("--class-weights: expected balanced or");
    finetune("no", "--class-weights", "goood=2").refused("no class is called goood");
    finetune("no", "--metric", "bleu").refused("metric: expected one of");
    finetune("no", "--few-labels", "4").refused("--few-labels needs --valid");
    finetune("no", "--seeds", 4).refused("are for --few-labels");
    finetune("no", "--task", "lm", "--adapt-on", text).refused("--adapt-on", "classification");
  }
}
