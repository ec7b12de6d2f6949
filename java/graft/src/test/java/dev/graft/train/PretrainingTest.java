package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.data.CausalSource.Packing;
import dev.graft.data.CausalSource.Sampling;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.io.InvalidInputException;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.Device;
import dev.graft.text.Tokenizer;
import dev.graft.train.TokenizerSettings.Kind;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PretrainingTest {
  @TempDir Path folder;

  private Path text() throws IOException {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 150; i++) {
      text.append("the ").append(i % 7).append(" birds sang ").append(i % 3).append(" songs .\n");
      text.append(i % 5 == 4 ? "\n" : "");
    }
    return Files.writeString(folder.resolve("text.txt"), text);
  }

  private static TrainingOptions.Builder options(Path run) {
    return TrainingOptions.pretraining()
        .steps(10)
        .batchSize(4)
        .logEvery(2)
        .evalEvery(4)
        .saveEvery(4)
        .runDirectory(run);
  }

  /** Stops a run at its first report. */
  private static TrainingListener stop(CancellationToken token) {
    return new TrainingListener() {
      @Override
      public void onStep(StepEvent event) {
        token.cancel();
      }
    };
  }

  enum Run {
    GPT,
    BERT,
    BERT_NEXT_SENTENCE
  }

  private PretrainingSettings settings(Run run, TrainingOptions options) throws IOException {
    Corpus corpus = Corpus.of(text());
    PretrainingSettings settings =
        switch (run) {
          case GPT ->
              PretrainingSettings.fresh(
                  Gpt2Config.of(1, 24, 32, 2, 2),
                  Task.CAUSAL_LM,
                  TokenizerSettings.train(Kind.BPE, 280),
                  corpus.documents(DocumentMode.BLANK_LINE),
                  options);
          case BERT ->
              PretrainingSettings.fresh(
                  BertConfig.of(1, 24, 32, 2, 2, 64),
                  Task.MASKED_LM,
                  TokenizerSettings.train(Kind.WORDPIECE, 60),
                  corpus.documents(DocumentMode.LINE),
                  options);
          case BERT_NEXT_SENTENCE ->
              PretrainingSettings.fresh(
                  BertConfig.of(1, 24, 32, 2, 2, 64),
                  Task.PRETRAINING,
                  TokenizerSettings.train(Kind.WORDPIECE, 60),
                  corpus.documents(DocumentMode.BLANK_LINE),
                  options);
        };
    return settings
        .withThreads(1)
        .withCorpusOptions(CorpusOptions.defaults().withValidationShare(0.1));
  }

  /** Oracle: the run that never stopped, byte by byte. The resume knows the directory alone. */
  @ParameterizedTest
  @EnumSource(Run.class)
  void stoppedRun_endsAsOneThatNeverStopped(Run kind) throws IOException {
    Path whole = folder.resolve("whole");
    Path broken = folder.resolve("broken");
    TrainingResult uninterrupted = Pretraining.run(settings(kind, options(whole).build()));
    CancellationToken token = new CancellationToken();
    TrainingResult stopped =
        Pretraining.run(
            settings(kind, options(broken).listener(stop(token)).cancellation(token).build()));
    assertThat(stopped.cancelled()).isTrue();
    assertThat(stopped.steps()).isEqualTo(2);
    TrainingResult resumed =
        Pretraining.resume(broken, TrainingListener.NONE, new CancellationToken());
    assertThat(resumed.cancelled()).isFalse();
    assertThat(resumed.lastEvaluation()).isEqualTo(uninterrupted.lastEvaluation());
    assertThat(resumed.lastEvaluation()).containsKeys("loss", "perplexity");
    for (String file :
        List.of("model/model.safetensors", "model/config.json", "model/tokenizer.json")) {
      assertThat(broken.resolve(file)).hasSameBinaryContentAs(whole.resolve(file));
    }
    assertThat(Files.readString(broken.resolve("settings.json")))
        .isEqualTo(Files.readString(whole.resolve("settings.json")));
  }

  @Test
  void runDirectory_holdsWhatItPromises() throws IOException {
    Path run = folder.resolve("run");
    TrainingResult result = Pretraining.run(settings(Run.GPT, options(run).build()));
    assertThat(result.modelDirectory()).isEqualTo(run.resolve("model").toAbsolutePath());
    for (String file :
        List.of(
            "settings.json",
            "run.json",
            "metrics.jsonl",
            "tokenizer/tokenizer.json",
            "data/train/shards.json",
            "best/model.safetensors",
            "model/config.json",
            "model/tokenizer.json")) {
      assertThat(run.resolve(file)).isNotEmptyFile();
    }
    BufferedImage picture = ImageIO.read(run.resolve("loss.png").toFile());
    assertThat(picture.getWidth()).isEqualTo(960);
    int[] pixels = picture.getRGB(0, 0, 960, 600, null, 0, 960);
    // Both curves are there, in their colours.
    assertThat(Arrays.stream(pixels).map(p -> p & 0xFFFFFF).boxed()).contains(0x4C72B0, 0xDD8452);
    try (Device device = Device.cpu(1);
        Tokenizer tokenizer = Tokenizer.fromPretrained(run.resolve("model"));
        Network network =
            Network.load(
                device, run.resolve("model"), Task.CAUSAL_LM, dev.graft.runtime.DType.FLOAT32)) {
      assertThat(network.config().vocabSize()).isEqualTo(tokenizer.vocabSize());
      assertThat(((Gpt2Config) network.config()).eosTokenId()).isEqualTo(tokenizer.eosId());
    }
  }

  @Test
  void furtherTraining_goesOnFromAModelAndIsResumed() throws IOException {
    Path first = folder.resolve("first");
    Pretraining.run(settings(Run.GPT, options(first).build()));
    Path other = Files.writeString(folder.resolve("other.txt"), "birds sing . ".repeat(200));
    Path run = folder.resolve("further");
    Path whole = folder.resolve("further-whole");
    CancellationToken token = new CancellationToken();
    Pretraining.run(further(first, other, options(whole).build()));
    Pretraining.run(
        further(first, other, options(run).listener(stop(token)).cancellation(token).build()));
    Pretraining.resume(run, TrainingListener.NONE, new CancellationToken());
    assertThat(run.resolve("model/model.safetensors"))
        .hasSameBinaryContentAs(whole.resolve("model/model.safetensors"));
    assertThat(run.resolve("model/tokenizer.json"))
        .hasSameBinaryContentAs(first.resolve("model/tokenizer.json"));
  }

  private static PretrainingSettings further(Path first, Path text, TrainingOptions options) {
    return PretrainingSettings.further(
            first.resolve("model"), Task.CAUSAL_LM, Corpus.of(text), options)
        .withThreads(1);
  }

  /** Everything that is not the caller's comes back from the file as it was written. */
  @Test
  void settings_areReadAsWritten() throws IOException {
    Path validation = Files.writeString(folder.resolve("valid.txt"), "birds .");
    TrainingOptions options =
        options(folder.resolve("run")).seed(-3).decayAll(true).gradientAccumulation(3).build();
    PretrainingSettings written =
        settings(Run.BERT, options)
            .withValidation(Corpus.of(validation).documents(DocumentMode.LINE))
            .withCorpusOptions(
                new CorpusOptions(12, Packing.DOCUMENT, Sampling.RANDOM, 0.2, 0.25, 7));
    Path file = folder.resolve("settings.json");
    dev.graft.io.AtomicFiles.write(file, dev.graft.io.Json.pretty(written.toJson()));
    TrainingOptions callers = TrainingOptions.finetuning().runDirectory(folder).build();
    PretrainingSettings read = PretrainingSettings.read(file, callers);
    assertThat(read.toJson()).isEqualTo(written.toJson());
    assertThat(read.training())
        .isEqualTo(
            options.toBuilder()
                .runDirectory(folder)
                .listener(callers.listener())
                .cancellation(callers.cancellation())
                .exchange(callers.exchange())
                .build());
    assertThat(read.corpusOptions()).isEqualTo(written.corpusOptions());
    assertThat(read.config()).isEqualTo(written.config());
    assertThat(read.tokenizer()).isEqualTo(written.tokenizer());
    Files.writeString(file, Files.readString(file).replace("\"masked_lm\"", "\"sorting\""));
    assertThatThrownBy(() -> PretrainingSettings.read(file, options))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("settings.json")
        .hasMessageContaining("sorting");
  }

  @Test
  void secondRunInTheSameDirectory_isRefusedAndTouchesNothing() throws IOException {
    Path run = folder.resolve("run");
    Pretraining.run(settings(Run.GPT, options(run).build()));
    byte[] before = Files.readAllBytes(run.resolve("data/train/tokens-00000.bin"));
    Files.writeString(folder.resolve("text.txt"), "another text ".repeat(100));
    PretrainingSettings again =
        PretrainingSettings.fresh(
            Gpt2Config.of(1, 24, 32, 2, 2),
            Task.CAUSAL_LM,
            TokenizerSettings.train(Kind.CHARACTER, 0),
            Corpus.of(folder.resolve("text.txt")),
            options(run).build());
    assertThatThrownBy(() -> Pretraining.run(again))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("resume it or name another run directory");
    assertThat(run.resolve("data/train/tokens-00000.bin")).hasBinaryContent(before);
    assertThatThrownBy(
            () ->
                Pretraining.resume(
                    folder.resolve("none"), TrainingListener.NONE, new CancellationToken()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("there is no run to resume");
  }

  /** Bad input leaves a folder as it was, whether it was there or not. */
  @Test
  void runThatCannotBegin_leavesNothing() throws IOException {
    Path blank = Files.writeString(folder.resolve("blank.txt"), "\n\n\n");
    Path there = Files.createDirectories(folder.resolve("there"));
    Path note = Files.writeString(there.resolve("note.txt"), "mine");
    for (Path run : List.of(folder.resolve("fresh"), there)) {
      for (Corpus corpus :
          List.of(Corpus.of(text(), blank).documents(DocumentMode.FILE), Corpus.of(text()))) {
        boolean tooShort = corpus.files().size() == 1;
        PretrainingSettings settings =
            PretrainingSettings.fresh(
                    Gpt2Config.of(1, 24, 32, 2, 2),
                    Task.CAUSAL_LM,
                    TokenizerSettings.train(Kind.BPE, tooShort ? 280 : 100),
                    corpus,
                    options(run).build())
                .withValidation(Corpus.of(blank).documents(DocumentMode.LINE));
        assertThatThrownBy(() -> Pretraining.run(settings))
            .isInstanceOf(InvalidInputException.class)
            .hasMessageContaining(tooShort ? "blank.txt" : "at least 257");
        assertThat(folder.resolve("fresh")).doesNotExist();
        assertThat(there).isDirectoryNotContaining(file -> !file.equals(note));
        assertThat(note).hasContent("mine");
      }
    }
  }

  @Test
  void vocabularyTooSmallAndEmptyText_areOneLine() throws IOException {
    Path empty = Files.writeString(folder.resolve("empty.txt"), "");
    assertThatThrownBy(() -> TokenizerSettings.train(Kind.BPE, 100).make(List.of(text())))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("at least 257");
    for (Kind kind : Kind.values()) {
      assertThatThrownBy(() -> TokenizerSettings.train(kind, 300).make(List.of(empty)))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("empty.txt: there is no text");
    }
  }
}
