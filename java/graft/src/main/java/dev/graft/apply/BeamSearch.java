package dev.graft.apply;

import dev.graft.apply.BeamOptions.Ending;
import dev.graft.io.InvalidInputException;
import dev.graft.model.BeamDecoder;
import dev.graft.model.Network;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.function.Predicate;

/** Beam search over a GPT-2, each prompt's search on its own. */
final class BeamSearch {
  /**
   * A text.
   *
   * @param tokens what was written, the end token included
   * @param score see {@link BeamOptions}
   */
  record Hypothesis(int[] tokens, double score) {}

  /** A beam that goes on. */
  private record Beam(int[] tokens, double logProbability, int parent) {}

  private static final Comparator<Hypothesis> BEST_FIRST =
      Comparator.comparingDouble(h -> -h.score());

  private final Network network;
  private final BeamOptions options;
  private final int maxNewTokens;
  private final double repetitionPenalty;
  private final int endToken;
  private final Predicate<int[]> stops;

  /**
   * @param endToken −1 for none
   * @param stops whether what was written ends a text
   */
  BeamSearch(
      Network network,
      BeamOptions options,
      int maxNewTokens,
      double repetitionPenalty,
      int endToken,
      Predicate<int[]> stops) {
    int vocabulary = network.config().vocabSize();
    if (2L * options.beams() > vocabulary) {
      throw new InvalidInputException(
          "beams: expected at most half of the vocabulary of "
              + vocabulary
              + ", got "
              + options.beams());
    }
    this.network = network;
    this.options = options;
    this.maxNewTokens = maxNewTokens;
    this.repetitionPenalty = repetitionPenalty;
    this.endToken = endToken;
    this.stops = stops;
  }

  /** One prompt's search. */
  private final class Search {
    private final int[] prompt;
    private List<Beam> running = List.of();
    private List<Hypothesis> ended = new ArrayList<>();
    private boolean over;

    Search(int[] prompt) {
      this.prompt = prompt;
      running = List.of(new Beam(new int[0], 0, 0));
    }

    /**
     * @param logits of each running beam
     */
    void advance(List<float[]> logits) {
      int beams = options.beams();
      List<Beam> candidates = candidates(logits, 2 * beams);
      List<Beam> going = new ArrayList<>();
      boolean anyGoes = false;
      int length = running.get(0).tokens().length + 1;
      double norm = Math.pow(length, options.lengthPenalty());
      for (int rank = 0; rank < candidates.size(); rank++) {
        Beam beam = candidates.get(rank);
        boolean ends =
            length >= maxNewTokens
                || beam.tokens()[length - 1] == endToken
                || stops.test(beam.tokens());
        anyGoes |= !ends;
        if (!ends && going.size() < beams) {
          going.add(beam);
        } else if (ends && rank < beams) {
          ended.add(new Hypothesis(beam.tokens(), beam.logProbability() / norm));
        }
      }
      ended.sort(BEST_FIRST);
      ended = new ArrayList<>(ended.subList(0, Math.min(beams, ended.size())));
      running = going;
      boolean full = ended.size() == beams;
      over =
          !anyGoes
              || going.size() < beams
              || (full && (options.ending() == Ending.FULL || !promises(norm)));
    }

    /** Whether the best beam may still become better than the worst text that ended. */
    private boolean promises(double norm) {
      double best =
          options.ending() == Ending.IMPOSSIBLE && options.lengthPenalty() > 0
              ? Math.pow(maxNewTokens, options.lengthPenalty())
              : norm;
      return running.get(0).logProbability() / best > ended.get(ended.size() - 1).score();
    }

    private List<Beam> candidates(List<float[]> logits, int count) {
      record Choice(double logProbability, int beam, int token) {}
      Comparator<Choice> worstFirst =
          Comparator.comparingDouble(Choice::logProbability)
              .thenComparing(Choice::beam, Comparator.reverseOrder())
              .thenComparing(Choice::token, Comparator.reverseOrder());
      PriorityQueue<Choice> best = new PriorityQueue<>(worstFirst);
      for (int b = 0; b < running.size(); b++) {
        double[] logProbabilities = logProbabilities(logits.get(b), running.get(b));
        double before = running.get(b).logProbability();
        for (int token = 0; token < logProbabilities.length; token++) {
          double sum = before + logProbabilities[token];
          if (best.size() < count || sum > best.peek().logProbability()) {
            best.add(new Choice(sum, b, token));
            if (best.size() > count) {
              best.poll();
            }
          }
        }
      }
      return best.stream()
          .sorted(worstFirst.reversed())
          .map(
              choice -> {
                int[] tokens = running.get(choice.beam()).tokens();
                int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
                longer[tokens.length] = choice.token();
                return new Beam(longer, choice.logProbability(), choice.beam());
              })
          .toList();
    }

    private double[] logProbabilities(float[] logits, Beam beam) {
      double highest = Double.NEGATIVE_INFINITY;
      for (float logit : logits) {
        highest = Math.max(highest, logit);
      }
      double sum = 0;
      for (float logit : logits) {
        sum += Math.exp(logit - highest);
      }
      double log = highest + Math.log(sum);
      double[] out = new double[logits.length];
      for (int i = 0; i < out.length; i++) {
        out[i] = logits[i] - log;
      }
      if (repetitionPenalty != 1) {
        // ln p is never above 0: a penalty makes it smaller.
        for (int[] tokens : new int[][] {prompt, beam.tokens()}) {
          for (int token : tokens) {
            out[token] = (logits[token] - log) * repetitionPenalty;
          }
        }
      }
      return out;
    }
  }

  /**
   * The best text behind each prompt.
   *
   * @param prompts token ids; the longest and {@code maxNewTokens} fit into the model
   */
  List<Hypothesis> search(int[][] prompts) {
    int beams = options.beams();
    int longest = Arrays.stream(prompts).mapToInt(p -> p.length).max().orElse(0);
    List<Search> searches = Arrays.stream(prompts).map(Search::new).toList();
    try (BeamDecoder decoder =
        new BeamDecoder(network, prompts.length, beams, longest + maxNewTokens)) {
      float[][] logits = decoder.prefill(prompts);
      for (int p = 0; p < prompts.length; p++) {
        searches.get(p).advance(List.of(logits[p]));
      }
      int[] parents = new int[prompts.length * beams];
      int[] tokens = new int[parents.length];
      for (boolean first = true; !searches.stream().allMatch(s -> s.over); first = false) {
        for (int p = 0; p < prompts.length; p++) {
          Search search = searches.get(p);
          for (int b = 0; b < beams; b++) {
            int row = p * beams + b;
            // A search that is over is carried along: its rows are not read.
            Beam beam = search.over ? null : search.running.get(b);
            parents[row] = first ? p : beam == null ? row : p * beams + beam.parent();
            tokens[row] = beam == null ? 0 : beam.tokens()[beam.tokens().length - 1];
          }
        }
        logits = decoder.step(parents, tokens);
        for (int p = 0; p < prompts.length; p++) {
          if (!searches.get(p).over) {
            searches.get(p).advance(List.of(logits).subList(p * beams, (p + 1) * beams));
          }
        }
      }
    }
    return searches.stream().map(search -> search.ended.get(0)).toList();
  }
}
