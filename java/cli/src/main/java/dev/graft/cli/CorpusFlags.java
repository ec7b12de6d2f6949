package dev.graft.cli;

import dev.graft.data.CausalSource.Packing;
import dev.graft.data.CausalSource.Sampling;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.train.CorpusOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** How text files become training examples. */
final class CorpusFlags {
  /** Takes {@code blank-line} for BLANK_LINE. */
  static final class Documents implements ITypeConverter<DocumentMode> {
    @Override
    public DocumentMode convert(String value) {
      try {
        return DocumentMode.valueOf(value.replace('-', '_').toUpperCase(Locale.ROOT));
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(
            "expected file, jsonl, blank-line or line, got '" + value + "'");
      }
    }
  }

  @Option(
      names = "--documents",
      paramLabel = "MODE",
      order = 20,
      converter = Documents.class,
      description =
          "What a document is: a whole file, a record of JSON Lines (jsonl), a block between blank"
              + " lines (blank-line) or a line (default: file).",
      defaultValue = "file")
  DocumentMode documents;

  @Option(
      names = "--field",
      paramLabel = "NAME",
      order = 21,
      description = "jsonl: the field of the text (default: ${DEFAULT-VALUE}).",
      defaultValue = "text")
  String field;

  @Option(
      names = "--context",
      paramLabel = "N",
      order = 22,
      description = "Tokens of a sequence (default: as many as the model has positions).",
      defaultValue = "0")
  int context;

  @Option(
      names = "--packing",
      paramLabel = "HOW",
      order = 23,
      description =
          "GPT-2: stream joins documents by the end token; document begins each sequence with one"
              + " and lets none see another (default: stream).",
      defaultValue = "stream")
  Packing packing;

  @Option(
      names = "--sampling",
      paramLabel = "HOW",
      order = 24,
      description =
          "GPT-2, stream: epoch takes every window once a pass, random takes random places"
              + " (default: epoch).",
      defaultValue = "epoch")
  Sampling sampling;

  @Option(
      names = "--mask-probability",
      paramLabel = "P",
      order = 25,
      description = "BERT: part of the tokens to predict (default: ${DEFAULT-VALUE}).",
      defaultValue = "0.15")
  double maskProbability;

  Corpus corpus(List<Path> files) {
    return Corpus.of(files).documents(documents).field(field);
  }

  CorpusOptions options(double validationShare) {
    return CorpusOptions.defaults()
        .withContextLength(context)
        .withPacking(packing)
        .withSampling(sampling)
        .withMaskProbability(maskProbability)
        .withValidationShare(validationShare);
  }
}
