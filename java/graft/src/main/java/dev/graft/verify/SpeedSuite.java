package dev.graft.verify;

import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Task;
import dev.graft.program.Ops.Activation;
import dev.graft.program.Ops.AttentionEngine;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/** What is measured on a card: the kernels and models people compare. */
public enum SpeedSuite {
  /** GPT-2 124M and BERT-base at the sizes of training. */
  CARD(8),
  /** The same on shapes that the emulated card can bear; its times say nothing. */
  SMALL(2);

  private static final Task TUNING = Task.SEQUENCE_CLASSIFICATION;
  private static final int CHANNELS = 768;

  /** 0.1 as k of k/256. */
  private static final int DROPOUT = 26;

  /** Tokens of 16 short texts as a classifier meets them, at most 128; their mean is 45. */
  private static final int[] TEXTS = {
    12, 128, 31, 22, 57, 40, 18, 64, 27, 96, 35, 14, 49, 45, 24, 58
  };

  private final int repeats;

  SpeedSuite(int repeats) {
    this.repeats = repeats;
  }

  /** How much is copied and multiplied for the limits. */
  public DeviceLimits.Size limits() {
    return this == CARD ? DeviceLimits.Size.CARD : DeviceLimits.Size.SMALL;
  }

  /** Each builds its operands when asked, so that one has the memory at a time. */
  public List<Supplier<SpeedCase>> kernels(Device device) {
    KernelRuns runs = new KernelRuns(device, repeats);
    List<Supplier<SpeedCase>> cases = new ArrayList<>();
    boolean card = this == CARD;
    List<String> engines = card ? List.of("flash", "cudnn", "efficient") : List.of("auto");
    int[][] shapes =
        card ? new int[][] {{128, 128, 0}, {32, 512, 0}, {16, 1024, 1}} : new int[][] {{1, 70, 1}};
    for (int[] shape : shapes) {
      for (int dropout : new int[] {0, DROPOUT}) {
        for (boolean backward : new boolean[] {false, true}) {
          for (AttentionEngine engine : attention(device)) {
            cases.add(
                () ->
                    runs.attention(
                        shape[0],
                        shape[1],
                        card ? 12 : 1,
                        64,
                        shape[2] == 1,
                        dropout,
                        backward,
                        engine,
                        engines));
          }
        }
      }
    }
    int rows = card ? 16384 : 33;
    int channels = card ? CHANNELS : 96;
    for (boolean backward : new boolean[] {false, true}) {
      cases.add(() -> runs.addNorm(rows, channels, backward));
      cases.add(() -> runs.activation(rows, 4 * channels, Activation.GELU_TANH, backward));
      cases.add(() -> runs.activation(rows, 4 * channels, Activation.GELU_ERF, backward));
    }
    cases.add(() -> card ? runs.classifier(4096, 50304) : runs.classifier(5, 1000));
    cases.add(() -> runs.embedding(rows, channels, card ? 50304 : 1000, card ? 1024 : 16));
    cases.add(() -> runs.adamw(card ? gpt2Sizes() : new int[] {5000, 96}));
    for (int batch : card ? new int[] {1, 64} : new int[] {2}) {
      cases.add(() -> runs.decode(batch, card ? 12 : 2, 64, card ? 1024 : 64));
    }
    cases.add(() -> runs.product(rows, 3 * channels, channels));
    cases.add(() -> runs.product(rows, 4 * channels, channels));
    cases.add(() -> runs.product(rows, channels, 4 * channels));
    return cases;
  }

  /** Those that the device has. */
  private static List<AttentionEngine> attention(Device device) {
    return device.hasWarpgroups()
        ? List.of(AttentionEngine.BASE, AttentionEngine.SM90)
        : List.of(AttentionEngine.BASE);
  }

  /** Whole models. */
  public List<Supplier<SpeedCase>> models(Device device) {
    if (this == SMALL) {
      Gpt2Config gpt2 = Gpt2Config.of(97, 64, 32, 1, 2);
      BertConfig bert = BertConfig.of(97, 64, 32, 1, 2, 64);
      return List.of(
          () -> new StepCase(device, "GPT-2 pretraining", gpt2, Task.CAUSAL_LM, lengths(2, 48)),
          () -> new StepCase(device, "BERT MLM", bert, Task.MASKED_LM, lengths(2, 48)),
          () -> new StepCase(device, "BERT fine-tuning", labelled(bert), TUNING, new int[] {9, 40}),
          () -> new GenerationCase(device, gpt2, 1, 4, 6));
    }
    Gpt2Config gpt2 = Gpt2Config.of(50257, 1024, CHANNELS, 12, 12);
    BertConfig bert = BertConfig.of(30522, 512, CHANNELS, 12, 12, 4 * CHANNELS);
    return List.of(
        () ->
            new StepCase(device, "GPT-2 124M pretraining", gpt2, Task.CAUSAL_LM, lengths(16, 1024)),
        () -> new StepCase(device, "BERT-base MLM", bert, Task.MASKED_LM, lengths(128, 128)),
        () -> new StepCase(device, "BERT-base MLM", bert, Task.MASKED_LM, lengths(32, 512)),
        () -> new StepCase(device, "BERT-base fine-tuning", labelled(bert), TUNING, texts(32)),
        () -> new StepCase(device, "BERT-base fine-tuning", labelled(bert), TUNING, texts(256)),
        () -> new GenerationCase(device, gpt2, 1, 16, 256),
        () -> new GenerationCase(device, gpt2, 32, 16, 256));
  }

  private static BertConfig labelled(BertConfig config) {
    return config.withLabels(List.of("no", "yes"));
  }

  private static int[] lengths(int count, int length) {
    int[] all = new int[count];
    Arrays.fill(all, length);
    return all;
  }

  private static int[] texts(int count) {
    int[] all = new int[count];
    Arrays.setAll(all, i -> TEXTS[i % TEXTS.length]);
    return all;
  }

  /** The parameters of GPT-2 124M, tensor by tensor. */
  private static int[] gpt2Sizes() {
    int c = CHANNELS;
    int[] block = {c, c, 3 * c * c, 3 * c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c};
    List<Integer> sizes = new ArrayList<>(List.of(50304 * c, 1024 * c, c, c));
    for (int layer = 0; layer < 12; layer++) {
      Arrays.stream(block).forEach(sizes::add);
    }
    return sizes.stream().mapToInt(Integer::intValue).toArray();
  }
}
