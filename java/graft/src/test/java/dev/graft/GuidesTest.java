package dev.graft;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.ChoiceQuestion;
import dev.graft.data.Question;
import dev.graft.text.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The Java in the guides is taken out of them and compiled as it stands there, with the variables
 * the text around it speaks of; what takes seconds is run, in an empty folder of small models.
 */
class GuidesTest {
  private static final Path GUIDES = Path.of("../../docs/guides");
  private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)\n```", Pattern.DOTALL);

  private static final String CLASSIFIER =
      "BertForSequenceClassification model, Dataset train, Dataset validation, Dataset test,"
          + " List<String> texts";

  /** Guides with Java in them, and the variables of each. */
  private static final Map<String, String> VARIABLES =
      Map.of(
          "tasks", "",
          "java", CLASSIFIER,
          "fine-tuning", CLASSIFIER,
          "application", "GPT2LMHeadModel model, List<String> prompts",
          "hub", "");

  @TempDir static Path folder;

  private static List<String> snippets(String guide) {
    try {
      return BLOCK
          .matcher(Files.readString(GUIDES.resolve(guide + ".md")))
          .results()
          // An ellipsis stands for the reader's own statements.
          .map(block -> block.group(1).replace("{ … }", "{ }"))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A class with a method a snippet: s1, s2 … */
  private static String source(String guide) {
    StringBuilder code = new StringBuilder();
    for (String name :
        List.of(
            "", ".apply", ".data", ".io", ".metrics", ".model", ".runtime", ".text", ".train")) {
      code.append("import dev.graft").append(name).append(".*;\n");
    }
    code.append("import java.nio.file.Path;\nimport java.util.List;\nimport java.util.Map;\n");
    code.append("public final class ").append(type(guide)).append(" {\n");
    int number = 1;
    for (String snippet : snippets(guide)) {
      code.append("public static void s" + number++ + "(" + VARIABLES.get(guide) + ")")
          .append(" throws Exception {\n")
          .append(snippet)
          .append("\n}\n");
    }
    return code.append("}\n").toString();
  }

  private static String type(String guide) {
    return "Guide_" + guide.replace('-', '_');
  }

  /** Compiles classes and returns what the compiler has against them. */
  private static List<String> compile(Path classes, Map<String, String> sources) {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    assertThat(compiler).as("tests run on a JDK").isNotNull();
    DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
    try (StandardJavaFileManager files =
        compiler.getStandardFileManager(found, Locale.ROOT, null)) {
      Files.createDirectories(classes);
      List<Path> written = new ArrayList<>();
      for (Map.Entry<String, String> source : sources.entrySet()) {
        written.add(Fixtures.write(classes.resolve(source.getKey() + ".java"), source.getValue()));
      }
      List<String> options =
          List.of(
              "-proc:none",
              "-d",
              classes.toString(),
              "-cp",
              classes + System.getProperty("path.separator") + classPath());
      compiler
          .getTask(null, files, found, options, null, files.getJavaFileObjectsFromPaths(written))
          .call();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return found.getDiagnostics().stream()
        .filter(one -> one.getKind() == Diagnostic.Kind.ERROR)
        .map(one -> one.toString().lines().collect(Collectors.joining(" ")))
        .toList();
  }

  private static String classPath() {
    return System.getProperty("java.class.path");
  }

  @Test
  void everySnippetCompiles() {
    Path classes = folder.resolve("classes");
    Map<String, String> sources =
        VARIABLES.keySet().stream().collect(Collectors.toMap(GuidesTest::type, GuidesTest::source));
    assertThat(compile(classes, sources)).isEmpty();
    assertThat(VARIABLES.keySet()).allSatisfy(guide -> assertThat(snippets(guide)).isNotEmpty());
  }

  @Test
  void codeThatIsWrong_isSeen() {
    Map<String, String> wrong =
        Map.of("Guide_tasks", source("tasks").replace("TaggedData.read", "TaggedData.raed"));
    assertThat(compile(folder.resolve("wrong"), wrong))
        .hasSize(2)
        .allMatch(e -> e.contains("raed"));
  }

  /** Guides whose Java is of other modules: it is compiled there or not at all. */
  @Test
  void noGuideIsForgotten() throws IOException {
    List<String> others = List.of("data-parallel", "kernels");
    try (Stream<Path> files = Files.list(GUIDES)) {
      List<String> withJava =
          files
              .map(file -> file.getFileName().toString().replaceFirst("\\.md$", ""))
              .filter(guide -> !snippets(guide).isEmpty() && !others.contains(guide))
              .toList();
      assertThat(withJava).containsExactlyInAnyOrderElementsOf(VARIABLES.keySet());
    }
  }

  private static final String WITH_CLASSIFIER =
      "try (var model = BertForSequenceClassification.fromPretrained(\"my-bert\")) {"
          + " Dataset data = Dataset.fromFile(\"reviews.csv\"); SNIPPET(model, data, data, data,"
          + " List.of(\"a great film\")); }";

  private static final String WITH_GPT2 =
      "try (var model = GPT2LMHeadModel.fromPretrained(\"my-gpt2\")) {"
          + " SNIPPET(model, List.of(\"the film\", \"the book\")); }";

  /** What it prints is judged where it prints. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tasks | 1 | tasks",
        "java | 1 | classifier",
        "java | 3 | classifier after fit",
        "fine-tuning | 1 | classifier",
        "application | 1 | gpt2"
      })
  void snippetRuns(String guide, int number, String setting) throws Exception {
    Path work = folder.resolve("work");
    if (!Files.exists(work)) {
      prepare(work);
    }
    String method = type(guide) + ".s" + number;
    String main =
        switch (setting) {
          case "classifier" -> WITH_CLASSIFIER.replace("SNIPPET", method);
          case "classifier after fit" ->
              WITH_CLASSIFIER.replace("my-bert", "my-classifier").replace("SNIPPET", method);
          case "gpt2" -> WITH_GPT2.replace("SNIPPET", method);
          default -> method + "();";
        };
    String source =
        source(guide)
            + "final class Main { public static void main(String[] args) throws Exception { "
            + main
            + " } }";
    Path classes = folder.resolve("run-" + guide + number);
    assertThat(compile(classes, Map.of(type(guide), source))).isEmpty();
    Path output = folder.resolve("output.txt");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-DHF_HUB_OFFLINE=1",
                "-cp",
                classes + System.getProperty("path.separator") + classPath(),
                "Main")
            .directory(work.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    assertThat(process.waitFor(4, TimeUnit.MINUTES)).isTrue();
    String printed = Files.readString(output);
    assertThat(process.exitValue()).as(printed).isZero();
    for (String file : leaves(guide, number)) {
      assertThat(work.resolve(file)).as(printed).exists();
    }
  }

  /** Files a snippet writes. */
  private static List<String> leaves(String guide, int number) {
    return switch (guide + number) {
      case "tasks1" -> List.of("my-tagger/model.safetensors");
      case "java1" -> List.of("runs/reviews/model/model.safetensors");
      case "fine-tuning1" ->
          List.of("adapter/adapter_model.safetensors", "merged/model.safetensors");
      default -> List.of();
    };
  }

  /** The files and models the guides name, as small as they can be. */
  private static void prepare(Path work) {
    Path bert = work.resolve("my-bert");
    try (BertTokenizer words = Fixtures.bertTokenizer(folder);
        BertForMaskedLM fresh = BertForMaskedLM.create(Fixtures.bert(), words, Fixtures.small());
        Tokenizer characters = Fixtures.charTokenizer(folder);
        GPT2LMHeadModel gpt =
            GPT2LMHeadModel.create(Fixtures.gpt2(), characters, Fixtures.small())) {
      fresh.savePretrained(bert);
      fresh.savePretrained(work.resolve("bert-base-cased"));
      gpt.savePretrained(work.resolve("my-gpt2"));
    }
    try (var classifier = BertForSequenceClassification.fromPretrained(bert, Fixtures.small())) {
      classifier.fit(Fixtures.reviews(8, 1), null, Fixtures.options(1).build());
      classifier.savePretrained(work.resolve("my-classifier"));
    }
    try (var reader = BertForQuestionAnswering.fromPretrained(bert, Fixtures.small())) {
      List<Question> one = List.of(Question.of("what ?", "the film was great", "film"));
      reader.fit(one, null, Fixtures.options(1).build());
      reader.savePretrained(work.resolve("my-reader"));
    }
    try (var chooser = BertForMultipleChoice.fromPretrained(bert, Fixtures.small())) {
      List<ChoiceQuestion> one =
          List.of(new ChoiceQuestion(null, "what ?", List.of("film", "book"), 0, "here"));
      chooser.fit(one, null, Fixtures.options(1).build());
      chooser.savePretrained(work.resolve("my-chooser"));
    }
    StringBuilder csv = new StringBuilder("text,label\n");
    Fixtures.reviews(16, 1)
        .forEach(e -> csv.append('"' + e.text() + "\"," + e.label()).append('\n'));
    for (String name : List.of("reviews.csv", "train.csv", "valid.csv")) {
      Fixtures.write(work.resolve(name), csv.toString());
    }
    String conll = "the O\nfilm B-THING\nwas O\n\na O\ngreat O\nbook B-THING\n".repeat(4);
    Fixtures.write(work.resolve("train.conll"), conll);
    Fixtures.write(work.resolve("valid.conll"), conll);
  }
}
