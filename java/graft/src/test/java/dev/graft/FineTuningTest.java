package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.apply.Prediction;
import dev.graft.data.Columns;
import dev.graft.io.InvalidInputException;
import dev.graft.train.CancellationToken;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A fine-tuning run that stops and goes on. */
class FineTuningTest {
  @TempDir Path folder;
  private BertTokenizer tokenizer;

  @BeforeEach
  void tokenizer() {
    tokenizer = Fixtures.bertTokenizer(folder);
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private BertForSequenceClassification model() {
    return BertForSequenceClassification.create(Fixtures.bert(), tokenizer, Fixtures.small());
  }

  /** Oracle: the uninterrupted fit. Tolerance: none. */
  @Test
  void fitThatWasStopped_goesOnToTheSameModel() {
    Dataset train = Fixtures.reviews(64, 1);
    Dataset test = Fixtures.reviews(30, 2);
    List<Prediction> whole;
    try (BertForSequenceClassification model = model()) {
      model.fit(train, test, Fixtures.options(12).logEvery(3).build());
      whole = model.predict(test);
    }
    CancellationToken token = new CancellationToken();
    TrainingListener stop =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            token.cancel();
          }
        };
    Path run = folder.resolve("run");
    try (BertForSequenceClassification model = model()) {
      FitResult first =
          model.fit(
              train,
              test,
              Fixtures.options(12)
                  .logEvery(3)
                  .runDirectory(run)
                  .listener(stop)
                  .cancellation(token)
                  .build());
      assertThat(first.cancelled()).isTrue();
      assertThat(first.training().steps()).isEqualTo(3);
    }
    try (BertForSequenceClassification model = model()) {
      FitResult second =
          model.fit(
              train, test, Fixtures.options(12).logEvery(3).runDirectory(run).resume(true).build());
      assertThat(second.cancelled()).isFalse();
      assertThat(model.predict(test)).isEqualTo(whole);
    }
    try (BertForSequenceClassification best =
        BertForSequenceClassification.fromPretrained(run.resolve("model"))) {
      assertThat(best.predict(test)).isEqualTo(whole);
    }
    assertThat(run.resolve("loss.png")).isNotEmptyFile();
  }

  /** A run is resumed by its directory alone. Oracle: the uninterrupted run, byte by byte. */
  @Test
  void fineTuning_isResumedFromItsDirectory() throws Exception {
    Path start = folder.resolve("start");
    try (BertForMaskedLM mlm =
        BertForMaskedLM.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      mlm.savePretrained(start);
    }
    StringBuilder tsv = new StringBuilder("kind\twords\n");
    Fixtures.reviews(48, 2)
        .forEach(e -> tsv.append(e.label()).append('\t').append(e.text()).append('\n'));
    Path data = Fixtures.write(folder.resolve("data.tsv"), tsv.toString());
    CancellationToken token = new CancellationToken();
    TrainingListener stop =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            token.cancel();
          }
        };
    Path whole = folder.resolve("whole");
    Path broken = folder.resolve("broken");
    TrainingOptions.Builder options = Fixtures.options(8).logEvery(2);
    Columns columns = Columns.of("words", "kind");
    new FineTuning(start, false, data, data, columns, 0, options.runDirectory(whole).build(), 1)
        .run();
    FitResult stopped =
        new FineTuning(
                start,
                false,
                data,
                data,
                columns,
                0,
                options.runDirectory(broken).listener(stop).cancellation(token).build(),
                1)
            .run();
    assertThat(stopped.cancelled()).isTrue();
    FitResult resumed = FineTuning.resume(broken, TrainingListener.NONE, new CancellationToken());
    assertThat(resumed.cancelled()).isFalse();
    assertThat(resumed.labels()).containsExactly("negative", "positive");
    assertThat(broken.resolve("model/model.safetensors"))
        .hasSameBinaryContentAs(whole.resolve("model/model.safetensors"));
    assertThatThrownBy(
            () -> FineTuning.resume(start, TrainingListener.NONE, new CancellationToken()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("there is no run to resume");
  }

  @Test
  void badLabel_leavesNoRunDirectory() {
    Path start = folder.resolve("start");
    try (BertForMaskedLM mlm =
        BertForMaskedLM.create(Fixtures.bert(), tokenizer, Fixtures.small())) {
      mlm.savePretrained(start);
    }
    Path train = Fixtures.write(folder.resolve("train.csv"), "text,label\na film,x\na book,y\n");
    Path valid = Fixtures.write(folder.resolve("valid.csv"), "text,label\na song,z\n");
    Path run = folder.resolve("run");
    FineTuning tuning =
        new FineTuning(
            start,
            false,
            train,
            valid,
            Columns.detect(),
            0,
            Fixtures.options(2).runDirectory(run).build(),
            1);
    assertThatThrownBy(tuning::run)
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("valid.csv")
        .hasMessageContaining("'z' is not one of the 2 classes");
    assertThat(run).doesNotExist();
  }
}
