package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.apply.Prediction;
import dev.graft.runtime.DType;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Threads, fits and closing, shown on a classifier. */
class ModelLifecycleTest {
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

  /** Oracle: one thread. Tolerance: none, for each uses one CPU thread. */
  @Test
  void predictorsInThreads_answerAsOneDoes() throws Exception {
    Dataset test = Fixtures.reviews(40, 3);
    try (BertForSequenceClassification model = model()) {
      model.fit(Fixtures.reviews(64, 1), null, Fixtures.options(8).build());
      List<Prediction> want;
      try (Predictor one = model.predictor(1)) {
        want = one.predict(test);
      }
      ExecutorService pool = Executors.newFixedThreadPool(4);
      try {
        List<Future<List<List<Prediction>>>> answers = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
          answers.add(
              pool.submit(
                  () -> {
                    List<List<Prediction>> got = new ArrayList<>();
                    try (Predictor mine = model.predictor(1)) {
                      for (int i = 0; i < 10; i++) {
                        got.add(mine.predict(test));
                      }
                    }
                    return got;
                  }));
        }
        for (Future<List<List<Prediction>>> answer : answers) {
          assertThat(answer.get()).hasSize(10).allSatisfy(got -> assertThat(got).isEqualTo(want));
        }
      } finally {
        pool.shutdown();
      }
    }
  }

  @Test
  void predictor_followsAFit() {
    Dataset test = Fixtures.reviews(20, 3);
    try (BertForSequenceClassification model = model();
        Predictor predictor = model.predictor(1)) {
      model.fit(Fixtures.reviews(64, 1), null, Fixtures.options(4).build());
      List<Prediction> first = predictor.predict(test);
      model.fit(Fixtures.reviews(64, 1), null, Fixtures.options(4).build());
      assertThat(predictor.predict(test)).isNotEqualTo(first).isEqualTo(model.predict(test));
      // Another dtype is another network in memory.
      model.fit(Fixtures.reviews(64, 1), null, Fixtures.options(4).dtype(DType.BFLOAT16).build());
      assertThat(predictor.predict(test)).isEqualTo(model.predict(test));
      // Read back, the weights of the last fit answer as the predictor does.
      model.savePretrained(folder.resolve("saved"));
      try (BertForSequenceClassification saved =
          BertForSequenceClassification.fromPretrained(
              folder.resolve("saved"), Fixtures.small().withDType(DType.BFLOAT16))) {
        assertThat(predictor.predict(test)).isEqualTo(saved.predict(test));
      }
    }
  }

  @Test
  void useDuringAFit_isRefusedByName() throws Exception {
    List<Throwable> refused = new ArrayList<>();
    try (BertForSequenceClassification model =
            BertForSequenceClassification.create(
                Fixtures.bert().withLabels(List.of("negative", "positive")),
                tokenizer,
                Fixtures.small());
        Predictor predictor = model.predictor()) {
      TrainingListener listener =
          new TrainingListener() {
            @Override
            public void onStep(StepEvent event) {
              for (Runnable use :
                  List.<Runnable>of(
                      () -> predictor.predict("a film"),
                      () -> model.evaluate(Fixtures.reviews(4, 1)),
                      () -> model.fit(Fixtures.reviews(4, 1), null),
                      () -> model.savePretrained(folder.resolve("no")))) {
                try {
                  use.run();
                } catch (IllegalStateException e) {
                  refused.add(e);
                }
              }
            }
          };
      model.fit(Fixtures.reviews(16, 1), null, Fixtures.options(1).listener(listener).build());
      assertThat(refused)
          .hasSize(4)
          .allSatisfy(e -> assertThat(e).hasMessageContaining("BertForSequenceClassification"));
      assertThat(refused.get(0)).hasMessageContaining("predict").hasMessageContaining("fit");
      assertThat(refused.get(2)).hasMessageContaining("fit is running");
      assertThat(model.predict("a film").classes()).hasSize(2);
    }
    assertThat(Files.exists(folder.resolve("no"))).isFalse();
  }

  @Test
  void useAfterClose_saysSo() {
    BertForSequenceClassification model = model();
    model.fit(Fixtures.reviews(16, 1), null, Fixtures.options(1).build());
    Predictor predictor = model.predictor();
    predictor.predict("a film");
    Predictor closed = model.predictor();
    closed.close();
    closed.close();
    assertThatThrownBy(() -> closed.predict("a film"))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("Predictor was used after it was closed")
        .hasCauseInstanceOf(Throwable.class);
    model.close();
    model.close();
    for (Runnable use :
        List.<Runnable>of(
            () -> model.predict("a film"),
            () -> predictor.predict("a film"),
            () -> model.fit(Fixtures.reviews(16, 1), null),
            () -> model.evaluate(Fixtures.reviews(16, 1)),
            () -> model.savePretrained(folder.resolve("no")))) {
      assertThatThrownBy(use::run)
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("used after it was closed");
    }
    predictor.close();
  }

  /** Closed in the middle of a fit, the model is freed when the fit ends, and not before. */
  @Test
  void closeDuringAFit_takesEffectAtItsEnd() {
    BertForSequenceClassification model = model();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            model.close();
          }
        };
    FitResult result =
        model.fit(
            Fixtures.reviews(16, 1),
            Fixtures.reviews(8, 2),
            Fixtures.options(4).logEvery(1).listener(listener).build());
    assertThat(result.training().steps()).isEqualTo(4);
    assertThat(result.validation()).containsKey("accuracy");
    assertThatThrownBy(() -> model.predict("a film")).hasMessageContaining("closed");
  }

  /**
   * Sixteen threads use a model while it is closed: each answer is right, and each thread ends with
   * the one error that says why.
   */
  @Test
  void closeUnderLoad_endsEveryThreadByName() throws Exception {
    Dataset test = Fixtures.reviews(6, 3);
    for (int round = 0; round < 5; round++) {
      BertForSequenceClassification model = model();
      model.fit(Fixtures.reviews(16, 1), null, Fixtures.options(1).build());
      List<Prediction> want = model.predict(test);
      CountDownLatch answered = new CountDownLatch(16);
      ExecutorService pool = Executors.newFixedThreadPool(16);
      List<Future<Throwable>> ends = new ArrayList<>();
      for (int t = 0; t < 16; t++) {
        boolean shared = t % 4 == 0;
        ends.add(
            pool.submit(
                () -> {
                  try (Predictor mine = model.predictor(1)) {
                    while (true) {
                      List<Prediction> got = shared ? model.predict(test) : mine.predict(test);
                      assertThat(got).isEqualTo(want);
                      answered.countDown();
                    }
                  } catch (IllegalStateException e) {
                    return e;
                  }
                }));
      }
      assertThat(answered.await(60, TimeUnit.SECONDS)).isTrue();
      model.close();
      for (Future<Throwable> end : ends) {
        assertThat(end.get(60, TimeUnit.SECONDS)).hasMessageContaining("used after it was closed");
      }
      pool.shutdown();
    }
  }
}
