package dev.graft.quickstart;

import java.nio.file.Path;

/**
 * What a quickstart is about to do.
 *
 * @param threads CPU threads in all
 * @param jobs trainings that run side by side
 * @param dtype of activations and products
 * @param gemm the library of matrix products
 * @param characters of the GPT's text
 * @param questions unlabelled questions BERT is pretrained on
 * @param intents classes
 * @param labelled labelled questions to fine-tune on
 * @param validation labelled questions to choose learning rates by
 * @param test questions of the test
 */
public record QuickstartPlan(
    Path directory,
    long seed,
    int threads,
    int jobs,
    String dtype,
    String gemm,
    long characters,
    int questions,
    int intents,
    int labelled,
    int validation,
    int test,
    QuickstartOptions.Scale scale) {}
