package example;

import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.FitResult;
import dev.graft.GPT2LMHeadModel;
import dev.graft.apply.GenerationOptions;

/** The example of the package's Javadoc and the README, as a user compiles it. */
public final class Example {
  private Example() {}

  public static void main(String[] args) {
    Dataset.Split reviews = Dataset.fromFile("reviews.csv").split(0.2, 42);
    try (var bert = BertForSequenceClassification.fromPretrained("my-bert")) {
      FitResult result = bert.fit(reviews.train(), reviews.validation());
      System.out.println(result.summary() + ", " + result.validation());
      System.out.println(bert.predict("What a lovely film!").label());
      bert.savePretrained("my-classifier");
    }
    try (var gpt = GPT2LMHeadModel.fromPretrained("my-gpt2")) {
      gpt.generate("Once upon a time", GenerationOptions.defaults(), System.out::print);
    }
  }
}
