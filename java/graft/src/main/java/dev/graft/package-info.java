/**
 * Graft by the names people know: models that own their tokenizer and network, trained and applied
 * on raw text.
 *
 * <pre>{@code
 * Dataset.Split reviews = Dataset.fromFile("reviews.csv").split(0.2, 42);
 * try (var bert = BertForSequenceClassification.fromPretrained("my-bert")) {
 *   FitResult result = bert.fit(reviews.train(), reviews.validation());
 *   System.out.println(result.summary() + ", " + result.validation());
 *   System.out.println(bert.predict("What a lovely film!").label());
 *   bert.savePretrained("my-classifier");
 * }
 * try (var gpt = GPT2LMHeadModel.fromPretrained("my-gpt2")) {
 *   gpt.generate("Once upon a time", GenerationOptions.defaults(), System.out::print);
 * }
 * }</pre>
 *
 * <p>A model directory is {@code config.json}, {@code model.safetensors} and the tokenizer's files,
 * as published checkpoints have them. {@link dev.graft.GPT2LMHeadModel}, {@link
 * dev.graft.BertForMaskedLM} and {@link dev.graft.BertForPreTraining} learn from a {@link
 * dev.graft.data.Corpus}, {@link dev.graft.BertForSequenceClassification} from a {@link
 * dev.graft.Dataset}; {@code create} makes a network from scratch. Runs that are checkpointed,
 * stopped and resumed by their directory are {@link dev.graft.train.Pretraining} and {@link
 * dev.graft.FineTuning}.
 *
 * <p>Models own native memory: close them. {@code fit} needs a model alone; everything else may be
 * called from any thread, and a {@link dev.graft.Predictor} or {@link dev.graft.Generator} a thread
 * keeps threads from waiting for each other. Input that cannot be used is a {@link
 * dev.graft.io.InvalidInputException} of one line. Texts are never cut unsaid.
 */
package dev.graft;
