package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.apply.Choice;
import dev.graft.apply.Entity;
import dev.graft.apply.FoundAnswer;
import dev.graft.apply.Prediction;
import dev.graft.data.ChoiceQuestion;
import dev.graft.data.LabelledExample;
import dev.graft.data.Question;
import dev.graft.data.TaggedSentence;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.BertConfig;
import dev.graft.model.ProblemType;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each task from raw data to a model that has learnt it, is saved, and answers the same again. */
class TaskModelsTest {
  private static final List<String> NAMES =
      List.of("ada", "grace", "alan", "john", "mary", "lise", "emmy", "kurt");
  private static final List<String> CITIES =
      List.of("london", "paris", "vienna", "berlin", "rome", "oslo", "turin", "bern");
  private static final List<String> COLOURS = List.of("red", "green", "blue");
  private static final String FILLER = "a thing that is and is . ";
  private static final List<String> SHAPES = List.of("round", "square", "flat");

  @TempDir static Path folder;
  private static Path model;

  @BeforeAll
  static void makeModel() {
    StringBuilder text = new StringBuilder();
    for (String word : List.of("where", "who", "when", "lives", "in", "did", "live", "?", ".")) {
      text.append((word + " ").repeat(40));
    }
    for (List<String> words : List.of(NAMES, CITIES, COLOURS, SHAPES)) {
      words.forEach(word -> text.append((word + " ").repeat(40)));
    }
    text.append("a thing that is and the one she knows best ".repeat(40));
    Path file = Fixtures.write(folder.resolve("words.txt"), text.append('\n').toString());
    model = folder.resolve("model");
    BertConfig config = BertConfig.of(1, 48, 32, 2, 2, 64).withDropout(0, 0, 0);
    try (BertTokenizer tokenizer = BertTokenizer.train(List.of(file), 400, true);
        var bare = BertForSequenceClassification.create(config, tokenizer, Fixtures.small())) {
      bare.savePretrained(model);
    }
  }

  private static <T> T of(List<T> list, Random random) {
    return list.get(random.nextInt(list.size()));
  }

  private static List<TaggedSentence> tagged(int count, long seed) {
    Random random = new Random(seed);
    List<TaggedSentence> sentences = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      // Two words of one city: only the tag of the first begins it.
      boolean two = random.nextBoolean();
      List<String> words = new ArrayList<>(List.of(of(NAMES, random), "lives", "in"));
      List<String> tags = new ArrayList<>(List.of("B-PER", "O", "O"));
      words.add(of(CITIES, random));
      tags.add("B-LOC");
      if (two) {
        words.add(of(CITIES, random));
        tags.add("I-LOC");
      }
      words.add(".");
      tags.add("O");
      sentences.add(new TaggedSentence(words, tags));
    }
    return sentences;
  }

  @Test
  void tagger_findsEntities() {
    Path saved = folder.resolve("tagger");
    String text = "Grace lives in Oslo Bern.";
    List<Entity> found;
    try (var tagger = BertForTokenClassification.fromPretrained(model, Fixtures.small())) {
      assertThatThrownBy(() -> tagger.entities(text))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("no trained head");
      FitResult result = tagger.fit(tagged(200, 1), tagged(40, 2), Fixtures.options(120).build());
      assertThat(result.labels()).containsExactly("O", "B-LOC", "I-LOC", "B-PER");
      assertThat(result.validation().get("f1")).isGreaterThan(0.95);
      assertThat(result.validation()).containsEntry("examples", 40.0);
      assertThat(tagger.evaluate(tagged(40, 2)).get("loss"))
          .isEqualTo(result.validation().get("loss"));
      found = tagger.entities(text);
      assertThat(found)
          .extracting(Entity::type, Entity::text, Entity::begin, Entity::end)
          .containsExactly(
              org.assertj.core.groups.Tuple.tuple("PER", "Grace", 0, 5),
              org.assertj.core.groups.Tuple.tuple("LOC", "Oslo Bern", 15, 24));
      // Longer than the 48 positions: no word is lost.
      List<String> words = new ArrayList<>();
      for (int i = 0; i < 60; i++) {
        words.addAll(List.of(NAMES.get(i % 8), "lives", "in", CITIES.get(i % 8), "."));
      }
      assertThat(tagger.predict(words)).hasSize(300).allMatch(word -> word.probability() > 0);
      assertThat(tagger.predict(words).stream().filter(w -> w.tag().equals("B-PER")).count())
          .isGreaterThan(50);
      assertThatThrownBy(
              () ->
                  tagger.evaluate(
                      List.of(new TaggedSentence(List.of("x"), List.of("B-ORG"), "f: line 3"))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("f: line 3")
          .hasMessageContaining("B-ORG");
      tagger.savePretrained(saved);
    }
    assertThat(Json.readObject(saved.resolve("config.json")).at("/architectures/0").asText())
        .isEqualTo("BertForTokenClassification");
    try (var tagger = BertForTokenClassification.fromPretrained(saved, Fixtures.small())) {
      assertThat(tagger.entities(text)).isEqualTo(found);
    }
  }

  private static List<Question> questions(int count, long seed) {
    Random random = new Random(seed);
    List<Question> questions = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String name = of(NAMES, random);
      String city = of(CITIES, random);
      // The longest do not fit a window.
      String context =
          FILLER.repeat(i % 8) + "the one that " + name + " knows best lives in " + city + " .";
      questions.add(
          switch (i % 3) {
            case 0 -> Question.of("where ?", context, city);
            case 1 -> Question.of("who ?", context, name);
            default ->
                new Question("", "where ?", "the one that " + name + " knows .", List.of(), "");
          });
    }
    return questions;
  }

  @Test
  void reader_findsAnswersAndTheirAbsence() {
    Path saved = folder.resolve("reader");
    String context = "the one that Mary knows best lives in Turin .";
    FoundAnswer found;
    try (var reader = BertForQuestionAnswering.fromPretrained(model, Fixtures.small())) {
      FitResult result =
          reader.fit(
              questions(600, 1),
              questions(60, 2),
              Fixtures.options(900).learningRate(2e-3).build());
      assertThat(result.validation().get("exact_match")).isGreaterThan(0.9);
      assertThat(result.validation().get("no_answer_accuracy")).isGreaterThan(0.9);
      found = reader.answer("where ?", context);
      assertThat(found.text()).isEqualTo("Turin");
      assertThat(context.substring(found.begin(), found.end())).isEqualTo("Turin");
      assertThat(reader.answer("who ?", context).text()).isEqualTo("Mary");
      List<FoundAnswer> none =
          reader
              .answer(List.of(new Question("where ?", "the one that ada knows .")), 3, true)
              .get(0);
      assertThat(none).hasSizeLessThanOrEqualTo(3);
      assertThat(none.get(0).text()).isEmpty();
      // In a text of many windows the only city is found.
      String far = FILLER.repeat(30) + context;
      assertThat(reader.answer("where ?", far).text()).isEqualTo("Turin");
      assertThatThrownBy(
              () -> reader.evaluate(List.of(new Question("", "who ?", context, null, "q7"))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("q7")
          .hasMessageContaining("not known");
      reader.savePretrained(saved);
    }
    try (var reader = BertForQuestionAnswering.fromPretrained(saved, Fixtures.small())) {
      assertThat(reader.answer("where ?", context)).isEqualTo(found);
    }
  }

  private static List<ChoiceQuestion> choices(int count, long seed) {
    Random random = new Random(seed);
    List<ChoiceQuestion> questions = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      boolean where = random.nextBoolean();
      List<String> choices = new ArrayList<>();
      // Two to four choices: a question need not have as many as the next.
      int right = random.nextInt(2 + i % 3);
      for (int c = 0; c < 2 + i % 3; c++) {
        choices.add(of((c == right) == where ? CITIES : NAMES, random));
      }
      questions.add(
          new ChoiceQuestion(null, where ? "where ?" : "who ?", choices, right, "line " + i));
    }
    return questions;
  }

  @Test
  void chooser_picksTheRightOne() {
    Path saved = folder.resolve("chooser");
    Choice picked;
    List<String> offered = List.of("mary", "turin", "kurt");
    try (var chooser = BertForMultipleChoice.fromPretrained(model, Fixtures.small())) {
      FitResult result =
          chooser.fit(choices(300, 1), choices(60, 2), Fixtures.options(300).build());
      assertThat(result.validation().get("accuracy")).isGreaterThan(0.9);
      picked = chooser.predict("where ?", offered);
      assertThat(picked.text()).isEqualTo("turin");
      assertThat(picked.index()).isEqualTo(1);
      assertThat(picked.probabilities().stream().mapToDouble(p -> p).sum())
          .isBetween(1 - 1e-9, 1 + 1e-9);
      assertThatThrownBy(
              () ->
                  chooser.evaluate(
                      List.of(new ChoiceQuestion(null, "who ?", offered, -1, "f: line 2"))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("f: line 2");
      chooser.savePretrained(saved);
    }
    try (var chooser = BertForMultipleChoice.fromPretrained(saved, Fixtures.small())) {
      assertThat(chooser.predict("where ?", offered)).isEqualTo(picked);
    }
  }

  private static Dataset things(int count, long seed) {
    Random random = new Random(seed);
    List<LabelledExample> examples = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      List<String> labels = new ArrayList<>();
      StringBuilder text = new StringBuilder("a thing that is ");
      for (String word : List.of(of(COLOURS, random), of(SHAPES, random))) {
        if (random.nextInt(4) > 0) {
          labels.add(word);
          text.append(word).append(' ');
        }
      }
      examples.add(new LabelledExample(text.append('.').toString(), String.join(";", labels)));
    }
    return Dataset.of(examples).withLabelSeparator(";");
  }

  @Test
  void labels_anyNumberOfThem() {
    Path saved = folder.resolve("labels");
    Prediction both;
    ProblemType type = ProblemType.MULTI_LABEL_CLASSIFICATION;
    try (var labels = BertForSequenceClassification.fromPretrained(model, type, Fixtures.small())) {
      FitResult result = labels.fit(things(240, 1), things(60, 2), Fixtures.options(800).build());
      assertThat(result.labels())
          .containsExactly("blue", "flat", "green", "red", "round", "square");
      assertThat(result.validation().get("f1_micro")).isGreaterThan(0.95);
      both = labels.predict("a thing that is red flat .");
      assertThat(both.labels()).containsExactlyInAnyOrder("red", "flat");
      assertThat(labels.predict("a thing that is .").labels()).isEmpty();
      labels.savePretrained(saved);
    }
    assertThat(Json.readObject(saved.resolve("config.json")).path("problem_type").asText())
        .isEqualTo("multi_label_classification");
    try (var again = BertForSequenceClassification.fromPretrained(saved, Fixtures.small())) {
      assertThat(again.problemType()).isEqualTo(type);
      assertThat(again.predict("a thing that is red flat .")).isEqualTo(both);
    }
    assertThatThrownBy(
            () ->
                BertForSequenceClassification.fromPretrained(
                    saved, ProblemType.REGRESSION, Fixtures.small()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("multi_label_classification");
  }

  private static LabelledExample inColumns(String text, Object flatness, Object redness) {
    Map<String, String> cells = new LinkedHashMap<>();
    cells.put("flatness", flatness.toString());
    cells.put("redness", redness.toString());
    return new LabelledExample(text, null, null, cells, 3);
  }

  /** The columns name the outputs, and are found by name, whatever their order. */
  @Test
  void labelsAndNumbers_inColumnsOfTheirOwn() {
    List<LabelledExample> labels = new ArrayList<>();
    List<LabelledExample> numbers = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      boolean flat = i % 2 == 0;
      boolean red = i % 3 == 0;
      String text = "a thing that is " + (flat ? "flat " : "") + (red ? "red " : "") + ".";
      labels.add(inColumns(text, flat ? 1 : 0, red ? 1 : 0));
      numbers.add(inColumns(text, flat ? 1.5 : -1, red ? 1 : 0.25));
    }
    LabelledExample one = labels.get(0);
    LabelledExample swapped =
        new LabelledExample(
            one.text(), null, null, new TreeMap<>(one.cells()).descendingMap(), one.line());
    ProblemType several = ProblemType.MULTI_LABEL_CLASSIFICATION;
    try (var labeller =
        BertForSequenceClassification.fromPretrained(model, several, Fixtures.small())) {
      FitResult result = labeller.fit(Dataset.of(labels), null, Fixtures.options(150).build());
      assertThat(result.labels()).containsExactly("flatness", "redness");
      assertThat(labeller.evaluate(Dataset.of(labels)).get("f1_micro")).isGreaterThan(0.95);
      assertThat(labeller.predict("a thing that is flat .").labels()).containsExactly("flatness");
      assertThatThrownBy(
              () ->
                  labeller.evaluate(
                      Dataset.of(
                          List.of(new LabelledExample("x", null, null, Map.of("size", "1"), 1)))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("the model's outputs are [flatness, redness], not [size]");
    }
    ProblemType type = ProblemType.REGRESSION;
    try (var scorer = BertForSequenceClassification.fromPretrained(model, type, Fixtures.small())) {
      scorer.fit(Dataset.of(numbers), null, Fixtures.options(150).build());
      assertThat(scorer.labels()).containsExactly("flatness", "redness");
      List<Double> values = scorer.predict("a thing that is flat .").values();
      assertThat(values.get(0)).isBetween(1.0, 2.0);
      assertThat(values.get(1)).isBetween(0.0, 0.5);
      double loss = scorer.evaluate(Dataset.of(List.of(one))).get("loss");
      assertThat(scorer.evaluate(Dataset.of(List.of(swapped))).get("loss")).isEqualTo(loss);
    }
    try (var classes = BertForSequenceClassification.fromPretrained(model, Fixtures.small())) {
      assertThatThrownBy(() -> classes.fit(Dataset.of(labels), null))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("several columns are multi-label classification or regression");
    }
  }

  private static Dataset scores(int count, long seed) {
    Random random = new Random(seed);
    List<LabelledExample> examples = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int red = random.nextInt(4);
      int flat = random.nextInt(4);
      String text = "a thing that is " + "red ".repeat(red) + "flat ".repeat(flat) + ".";
      examples.add(new LabelledExample(text, "[" + red / 2.0 + ", " + (flat - 1) + "]"));
    }
    return Dataset.of(examples);
  }

  @Test
  void regression_ofTwoNumbers() {
    ProblemType type = ProblemType.REGRESSION;
    try (var scorer = BertForSequenceClassification.fromPretrained(model, type, Fixtures.small())) {
      FitResult result = scorer.fit(scores(300, 1), scores(60, 2), Fixtures.options(300).build());
      assertThat(result.validation().get("pearson")).isGreaterThan(0.95);
      assertThat(result.validation().get("loss")).isLessThan(0.1);
      List<Double> values = scorer.predict("a thing that is red red flat flat flat .").values();
      assertThat(values).hasSize(2);
      assertThat(values.get(0)).isBetween(0.6, 1.4);
      assertThat(values.get(1)).isBetween(1.4, 2.6);
      assertThatThrownBy(() -> scorer.evaluate(Dataset.of(List.of("a thing"), List.of("much"))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("expected a number")
          .hasMessageContaining("much");
      assertThatThrownBy(() -> scorer.evaluate(Dataset.of(List.of("a thing"), List.of("1"))))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("expected 2 numbers");
    }
  }
}
