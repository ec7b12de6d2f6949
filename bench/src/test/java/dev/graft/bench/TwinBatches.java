package dev.graft.bench;

import dev.graft.data.Batch;
import dev.graft.model.BertConfig;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.runtime.Philox;

/** Random batches for a network's task: sequences of odd and even lengths. */
final class TwinBatches {
  static final long SEED = 0x5eed;

  private final Network network;
  private final ModelConfig config;
  private final Task task;
  private final Philox random;

  private TwinBatches(Network network, int draw) {
    this.network = network;
    this.config = network.config();
    this.task = network.task();
    this.random = new Philox(SEED, 1, draw);
  }

  /** One token and none are among the lengths, but for choices, which are all read. */
  static Batch of(Network network, int draw) {
    int longest = Math.min(network.config().maxPositions(), draw == 0 ? 70 : 37);
    TwinBatches batches = new TwinBatches(network, draw);
    return network.task() == Task.MULTIPLE_CHOICE
        ? batches.questions(longest)
        : batches.sequences(longest);
  }

  private Batch sequences(int longest) {
    int sequences = 5;
    Batch batch = new Batch(sequences * longest, sequences, longest, network.targetColumns());
    batch.begin();
    for (int s = 0; s < sequences; s++) {
      sequence(batch, length(s, longest), s);
    }
    return batch.finish();
  }

  private int length(int s, int longest) {
    return s == 0 ? longest : s == 1 ? 1 : s == 2 ? 0 : 2 + random.nextInt(longest - 1);
  }

  /** Questions of two and three choices, then one whose answer is not known. */
  private Batch questions(int longest) {
    int[] choices = {2, 3, 2};
    Batch batch = new Batch(7 * longest, 7, longest);
    batch.begin();
    for (int q = 0; q < choices.length; q++) {
      batch.beginQuestion(q == 2 ? Batch.IGNORED : random.nextInt(choices[q]));
      for (int c = 0; c < choices[q]; c++) {
        sequence(batch, q + c == 0 ? longest : 1 + random.nextInt(longest), q);
      }
    }
    return batch.finish();
  }

  private void sequence(Batch batch, int length, int s) {
    boolean answers = task == Task.QUESTION_ANSWERING;
    boolean sentences = task == Task.PRETRAINING || task == Task.SEQUENCE_CLASSIFICATION;
    int targets = network.targetColumns();
    int label = Batch.IGNORED;
    if (length > 0 && targets == 0 && sentences) {
      label = random.nextInt(task == Task.PRETRAINING ? 2 : config.labels().size());
    } else if (length > 0 && answers && s != 3) {
      label = random.nextInt(length);
    }
    batch.beginSequence(label);
    if (label != Batch.IGNORED && answers) {
      batch.endPosition(label + random.nextInt(length - label));
    }
    if (length > 0 && targets > 0) {
      batch.targets(targets(targets));
    }
    int types = config instanceof BertConfig bert ? Math.max(1, bert.typeVocabSize()) : 1;
    for (int t = 0; t < length; t++) {
      boolean target = target(t);
      batch.addToken(
          random.nextInt(config.vocabSize()),
          t,
          t * types / length,
          target ? random.nextInt(tokenLabels()) : Batch.IGNORED);
    }
  }

  /** One in four is not known. */
  private float[] targets(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      boolean numbers = ((BertConfig) config).problemType() == ProblemType.REGRESSION;
      float known = numbers ? (float) random.nextGaussian() : random.nextInt(2);
      values[i] = random.nextInt(4) == 0 ? Batch.IGNORED : known;
    }
    return values;
  }

  /** The causal model learns two thirds of its tokens, as prompts are left out; BERT a third. */
  private boolean target(int t) {
    return switch (task) {
      case CAUSAL_LM, TOKEN_CLASSIFICATION -> t == 0 || random.nextInt(3) < 2;
      case MASKED_LM, PRETRAINING -> t == 0 || random.nextInt(3) < 1;
      default -> false;
    };
  }

  private int tokenLabels() {
    return task == Task.TOKEN_CLASSIFICATION ? config.labels().size() : config.vocabSize();
  }
}
