package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.text.TokenSpans;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files and windows of tagged sentences, questions, choices; what is wrong with bad ones. */
class TaskDataTest {
  @TempDir static Path folder;
  private static Tokenizer tokenizer;

  @BeforeAll
  static void open() throws IOException {
    List<String> vocabulary =
        List.of(
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "un", "##aff", "##able",
            "wo", "##rd", "london", "in", "where", "?", ".", "😀", "京", "都");
    Path dir = Files.createDirectories(folder.resolve("tokenizer"));
    Files.write(dir.resolve("vocab.txt"), vocabulary);
    tokenizer = Tokenizer.fromPretrained(dir);
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  private static Path file(String name, String text) {
    try {
      return Files.writeString(folder.resolve(name), text);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void refused(Runnable call, String... texts) {
    assertThatThrownBy(call::run)
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContainingAll(texts)
        .message()
        .doesNotContain("\n");
  }

  @Test
  void spans_countUtf16() {
    String text = "a 😀 unaffable 京";
    TokenSpans spans = tokenizer.spans(text);
    List<String> pieces = new ArrayList<>();
    for (int i = 0; i < spans.length(); i++) {
      pieces.add(text.substring(spans.begins()[i], spans.ends()[i]));
    }
    assertThat(pieces).containsExactly("a", "😀", "un", "aff", "able", "京");
  }

  @Test
  void conll_andJson() {
    List<TaggedSentence> columns =
        TaggedData.read(
            file(
                "a.conll",
                "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\n\nPeter\tB-PER\n"));
    assertThat(columns)
        .extracting(TaggedSentence::words)
        .containsExactly(List.of("EU", "rejects"), List.of("Peter"));
    assertThat(columns)
        .extracting(TaggedSentence::tags)
        .containsExactly(List.of("B-ORG", "O"), List.of("B-PER"));
    assertThat(columns.get(0).source()).endsWith("a.conll: line 3");
    assertThat(TaggedData.labels(columns).names()).containsExactly("O", "B-ORG", "B-PER");
    List<TaggedSentence> json =
        TaggedData.read(
            file("a.jsonl", "{\"tokens\": [\"EU\", \"x\"], \"ner_tags\": [\"B-ORG\", \"O\"]}\n"));
    assertThat(json.get(0).tags()).containsExactly("B-ORG", "O");
    assertThat(TaggedData.readWords(file("b.jsonl", "{\"words\": [\"EU\"]}")).get(0).tags())
        .isNull();
  }

  @Test
  void badTaggedFiles() {
    refused(() -> TaggedData.read(file("c.conll", "EU B-ORG\nPeter\n")), "c.conll", "line 2");
    refused(() -> TaggedData.read(file("d.conll", "\n\n")), "d.conll", "no sentences");
    refused(
        () -> TaggedData.read(file("e.jsonl", "{\"tokens\": [\"a\"], \"tags\": []}")),
        "line 1",
        "1 words but 0 tags");
    refused(
        () -> TaggedData.read(file("f.jsonl", "{\"tokens\": [\"a\"], \"tags\": [3]}")),
        "line 1",
        "expected texts");
    refused(() -> TaggedData.read(file("g.jsonl", "{\"x\": 1}")), "line 1", "tokens", "[x]");
    refused(() -> TaggedData.read(file("h.jsonl", "{")), "line 1", "not valid JSON");
  }

  /** Every word is counted once, at its first token, whatever the length of windows. */
  @Test
  void windows_loseNoWord() {
    List<String> words = new ArrayList<>();
    List<String> tags = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      words.add(i % 3 == 0 ? "unaffable" : i % 3 == 1 ? "word" : "a");
      tags.add(i % 2 == 0 ? "O" : "B-X");
    }
    LabelSet labels = new LabelSet(List.of("O", "B-X"));
    for (int length = 3; length <= 90; length++) {
      List<TaggedWindow> windows =
          new TaggedWindows(tokenizer, length).of(List.of(new TaggedSentence(words, tags)), labels);
      int[] seen = new int[40];
      for (TaggedWindow window : windows) {
        assertThat(window.tokens()).isLessThanOrEqualTo(length);
        assertThat(window.ids()[0]).isEqualTo(tokenizer.clsId());
        assertThat(window.ids()[window.tokens() - 1]).isEqualTo(tokenizer.sepId());
        for (int t = 0; t < window.tokens(); t++) {
          int word = window.words()[t];
          if (word < 0) {
            assertThat(window.labels()[t]).isEqualTo(Batch.IGNORED);
          } else {
            seen[word]++;
            assertThat(window.labels()[t]).isEqualTo(word % 2);
            assertThat(tokenizer.token(window.ids()[t]))
                .isEqualTo(word % 3 == 0 ? "un" : word % 3 == 1 ? "wo" : "a");
          }
        }
      }
      assertThat(seen).as("windows of " + length).containsOnly(1);
    }
    refused(() -> new TaggedWindows(tokenizer, 2), "no room");
  }

  @Test
  void squadFiles() {
    Path v2 =
        file(
            "dev.json",
            "{\"version\": \"v2.0\", \"data\": [{\"title\": \"t\", \"paragraphs\": [{\"context\":"
                + " \"😀 a word in london .\", \"qas\": [{\"id\": \"1\", \"question\": \"where ?\","
                + " \"answers\": [{\"text\": \"london\", \"answer_start\": 12}],"
                + " \"is_impossible\": false}, {\"id\": \"2\", \"question\": \"b ?\", \"answers\":"
                + " [], \"plausible_answers\": [{\"text\": \"a\", \"answer_start\": 2}],"
                + " \"is_impossible\": true}]}]}]}");
    List<Question> questions = QuestionData.read(v2);
    assertThat(questions).extracting(Question::id).containsExactly("1", "2");
    // Code points there, UTF-16 here.
    assertThat(questions.get(0).answers()).containsExactly(new Question.Answer("london", 13));
    assertThat(questions.get(1).unanswerable()).isTrue();
    List<Question> flat =
        QuestionData.read(
            file(
                "dev.jsonl",
                "{\"question\": \"q\", \"context\": \"a b a\", \"answers\": {\"text\": [\"a\"],"
                    + " \"answer_start\": [4]}}\n"
                    + "{\"question\": \"q\", \"context\": \"a b\", \"answer\": \"b\"}\n"
                    + "{\"question\": \"q\", \"context\": \"a b\", \"answers\": []}\n"
                    + "{\"question\": \"q\", \"context\": \"a b\"}\n"));
    assertThat(flat.get(0).answers().get(0).begin()).isEqualTo(4);
    assertThat(flat.get(1).answers().get(0).begin()).isEqualTo(2);
    assertThat(flat.get(2).unanswerable()).isTrue();
    assertThat(flat.get(3).answers()).isNull();
    refused(() -> QuestionData.read(file("x.json", "{\"data\": 3}")), "x.json", "array");
    refused(() -> QuestionData.read(file("y.json", "{\"date\": []}")), "y.json", "data");
    refused(() -> QuestionData.read(file("z.json", "{\"data\": [")), "z.json", "not valid JSON");
    refused(
        () ->
            QuestionData.read(
                file("w.jsonl", "{\"question\": \"q\", \"context\": \"a\", \"answer\": \"b\"}")),
        "w.jsonl: line 1",
        "does not stand in the context");
  }

  /** Wherever the answer stands, one window holds it whole and the others say [CLS]. */
  @Test
  void answerWindows_holdTheAnswer() {
    for (int at = 0; at < 60; at++) {
      String[] words = new String[60];
      Arrays.fill(words, "a");
      words[at] = "unaffable";
      String context = String.join(" ", words);
      Question question = Question.of("where ?", context, "unaffable");
      int held = 0;
      for (AnswerWindow window : new AnswerWindows(tokenizer, 20).of(List.of(question))) {
        assertThat(window.tokens()).isLessThanOrEqualTo(20);
        assertThat(tokenizer.token(window.ids()[1])).isEqualTo("where");
        assertThat(window.typeIds()[window.contextAt()]).isEqualTo(1);
        if (window.start() == 0) {
          assertThat(window.end()).isZero();
        } else {
          held++;
          assertThat(tokenizer.token(window.ids()[window.start()])).isEqualTo("un");
          assertThat(tokenizer.token(window.ids()[window.end()])).isEqualTo("##able");
          int first = window.start() - window.contextAt();
          assertThat(window.begins()[first]).isEqualTo(context.indexOf("unaffable"));
        }
      }
      assertThat(held).as("answer at word " + at).isPositive();
    }
    AnswerWindows cutter = new AnswerWindows(tokenizer, 20);
    cutter.of(List.of(new Question("a ".repeat(100), "b")));
    assertThat(cutter.truncated()).isEqualTo(1);
  }

  @Test
  void answerSearch_takesTheBestSpanOfAllWindows() {
    List<AnswerWindow> windows =
        new AnswerWindows(tokenizer, 11).of(List.of(new Question("where ?", "a b c . a b c .")));
    assertThat(windows).hasSizeGreaterThan(1);
    AnswerSearch search = new AnswerSearch(2);
    AnswerWindow last = windows.get(windows.size() - 1);
    for (AnswerWindow window : windows) {
      float[][] logits = new float[window.tokens()][2];
      logits[0] = new float[] {1, 1};
      if (window == last) {
        logits[window.contextAt()][0] = 3; // begins here
        logits[window.contextAt() + 1][1] = 4; // ends one further
        logits[window.contextAt() + 2][1] = 9; // too long an answer
      }
      search.add(window, logits, 0);
    }
    AnswerSearch.Span best = search.spans(true).get(0);
    assertThat(best.end()).isEqualTo(last.ends()[2]);
    assertThat(best.score()).isEqualTo(9); // not 12: that answer would be too long
    assertThat(search.spans(true))
        .anyMatch(
            s -> s.begin() == last.begins()[0] && s.end() == last.ends()[1] && s.score() == 7);
    assertThat(search.spans(true)).anyMatch(span -> span.empty() && span.score() == 2);
    assertThat(search.spans(false)).noneMatch(AnswerSearch.Span::empty);
  }

  @Test
  void choices() {
    List<ChoiceQuestion> questions =
        ChoiceData.read(
            file(
                "c.jsonl",
                "{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"label\": 1}\n"
                    + "{\"context\": \"x\", \"question\": \"q\", \"endings\": [\"a\", \"b\","
                    + " \"c\"], \"answer\": \"c\"}\n"
                    + "{\"question\": \"q\", \"choices\": [\"a\", \"b\"]}\n"));
    assertThat(questions).extracting(ChoiceQuestion::label).containsExactly(1, 2, -1);
    EncodedChoices encoded = EncodedChoices.of(tokenizer, questions.get(1), 7);
    assertThat(encoded.sequences()).isEqualTo(3);
    refused(() -> ChoiceData.read(file("d.csv", "a")), "d.csv", ".jsonl");
    refused(
        () -> ChoiceData.read(file("e.jsonl", "{\"question\": \"q\", \"choices\": [\"a\"]}")),
        "e.jsonl",
        "line 1",
        "at least two");
    refused(
        () ->
            ChoiceData.read(
                file("f.jsonl", "{\"question\": \"q\", \"choices\": [\"a\",\"b\"],\"label\": 2}")),
        "line 1",
        "0 to 1");
  }

  private LabelledExample inColumns(String... cells) {
    Map<String, String> columns = new LinkedHashMap<>();
    for (int i = 0; i < cells.length; i++) {
      columns.put(List.of("price", "staff").get(i), cells[i]);
    }
    return new LabelledExample("t", null, null, columns, 7);
  }

  @Test
  void labelColumns() {
    LabelCells cells = LabelCells.COMMA;
    assertThat(cells.labels(inColumns("1", "0"), "f")).containsExactly("price");
    assertThat(cells.labels(inColumns("TRUE", "1.0"), "f")).containsExactly("price", "staff");
    assertThat(cells.labels(inColumns("false", "0.0"), "f")).isEmpty();
    assertThat(cells.numbers(inColumns("-1.5", "2e3"), "f")).containsExactly(-1.5f, 2000);
    refused(
        () -> cells.labels(inColumns("1", "2"), "f"),
        "f: line 7: column 'staff': expected 0 or 1, got '2'");
    refused(
        () -> cells.labels(inColumns("", "1"), "f"),
        "f: line 7: column 'price': expected 0 or 1, got an empty cell");
    refused(
        () -> cells.labels(inColumns("1", null), "f"),
        "column 'staff': expected 0 or 1, got an empty cell");
    refused(
        () -> cells.numbers(inColumns("1", "much"), "f"),
        "f: line 7: column 'staff': expected a number, got 'much'");
    refused(
        () -> cells.numbers(inColumns(null, "1"), "f"),
        "column 'price': expected a number, got an empty cell");
    refused(
        () -> cells.numbers(inColumns("1", "inf"), "f"), "f: line 7", "column 'staff'", "'inf'");
    refused(
        () -> LabelSet.of(List.of(inColumns("1", "0")), "f"),
        "f: ",
        "several columns",
        "multi-label");
  }

  @Test
  void labelCells() {
    LabelCells cells = new LabelCells(";");
    assertThat(cells.labels(new LabelledExample("t", " a; b;;"), "f")).containsExactly("a", "b");
    assertThat(cells.labels(new LabelledExample("t", "[\"a;x\", 3]"), "f"))
        .containsExactly("a;x", "3");
    assertThat(cells.labels(new LabelledExample("t", ""), "f")).isEmpty();
    assertThat(cells.numbers(new LabelledExample("t", "1.5;-2"), "f")).containsExactly(1.5f, -2);
    refused(() -> cells.labels(new LabelledExample("t", null, "[1", 4), "f"), "f: line 4", "[1");
    refused(() -> cells.numbers(new LabelledExample("t", null, "NaN", 4), "f"), "line 4", "NaN");
    refused(() -> cells.numbers(new LabelledExample("t", null, "-100", 4), "f"), "-100");
    refused(() -> cells.numbers(new LabelledExample("t", null, "", 4), "f"), "line 4", "no number");
    Path json = file("l.jsonl", "{\"text\": \"t\", \"label\": [\"a\", \"b\"]}\n");
    List<LabelledExample> read = LabelledData.read(json, Columns.detect());
    assertThat(cells.labels(read.get(0), "l")).containsExactly("a", "b");
    refused(() -> LabelSet.of(read, "l.jsonl"), "l.jsonl", "array", "multi-label");
  }
}
