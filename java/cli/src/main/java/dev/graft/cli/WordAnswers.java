package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForTokenClassification;
import dev.graft.apply.Choice;
import dev.graft.apply.Entity;
import dev.graft.apply.TaggedWord;
import dev.graft.data.ChoiceQuestion;
import dev.graft.io.Json;
import dev.graft.text.WordSpans;
import dev.graft.train.TokenClassificationEvaluator;
import java.io.PrintWriter;
import java.util.List;

/** Prints what a token classifier says of texts: their entities, or the class of every word. */
final class WordAnswers {
  private final BertForTokenClassification tagger;
  private final boolean json;
  private final PrintWriter out;

  WordAnswers(BertForTokenClassification tagger, boolean json, PrintWriter out) {
    this.tagger = tagger;
    this.json = json;
    this.out = out;
  }

  void print(List<String> texts) {
    if (texts.isEmpty()) {
      return;
    }
    if (!TokenClassificationEvaluator.isEntities(tagger.labels())) {
      List<List<String>> words =
          texts.stream().map(text -> WordSpans.of(text).words(text)).toList();
      List<List<TaggedWord>> tagged = tagger.predictAll(words);
      for (int i = 0; i < texts.size(); i++) {
        out.append(json ? words(texts.get(i), tagged.get(i)) : words(tagged.get(i))).append('\n');
      }
      return;
    }
    List<List<Entity>> found = tagger.entities(texts);
    for (int i = 0; i < texts.size(); i++) {
      out.append(json ? entities(texts.get(i), found.get(i)) : line(texts.get(i), found.get(i)))
          .append('\n');
    }
  }

  /** {@code TYPE thing … TAB text}. */
  private static String line(String text, List<Entity> entities) {
    StringBuilder line = new StringBuilder();
    for (Entity entity : entities) {
      line.append(
          String.format("%s %s %.4f\t", entity.type(), entity.text(), entity.probability()));
    }
    return line.append(text).toString();
  }

  private static String entities(String text, List<Entity> entities) {
    ObjectNode line = Json.object().put("text", text);
    ArrayNode all = line.putArray("entities");
    for (Entity entity : entities) {
      all.addObject()
          .put("type", entity.type())
          .put("text", entity.text())
          .put("begin", entity.begin())
          .put("end", entity.end())
          .put("probability", entity.probability());
    }
    return Json.line(line);
  }

  /** {@code word/class word/class …}. */
  private static String words(List<TaggedWord> words) {
    return String.join(" ", words.stream().map(w -> w.word() + "/" + w.tag()).toList());
  }

  private static String words(String text, List<TaggedWord> words) {
    ObjectNode line = Json.object().put("text", text);
    ArrayNode all = line.putArray("words");
    for (TaggedWord word : words) {
      all.addObject()
          .put("word", word.word())
          .put("label", word.tag())
          .put("probability", word.probability());
    }
    return Json.line(line);
  }

  /** A line of JSON for a question with choices. */
  static String json(ChoiceQuestion question, Choice choice) {
    ObjectNode line = Json.object();
    line.put("question", question.question())
        .put("choice", choice.text())
        .put("index", choice.index())
        .put("probability", choice.probability());
    ArrayNode all = line.putArray("probabilities");
    choice.probabilities().forEach(all::add);
    return Json.line(line.put("truncated", choice.truncated()));
  }
}
