package dev.graft.metrics;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** How an answer to a question is compared with a true one. */
public enum AnswerRules {
  /**
   * SQuAD 1.1 (Rajpurkar et al. 2016): lower case, without ASCII punctuation, articles and
   * superfluous space; F1 over the bag of words.
   */
  SQUAD {
    @Override
    public boolean equal(String truth, String answer) {
      return normalize(truth).equals(normalize(answer));
    }

    @Override
    public double f1(String truth, String answer) {
      List<String> truths = words(truth);
      List<String> answers = words(answer);
      return harmonic(common(truths, answers), truths.size(), answers.size());
    }
  },

  /** SQuAD 2.0 (Rajpurkar et al. 2018): as 1.1, and an empty truth is met by an empty answer. */
  SQUAD_V2 {
    @Override
    public boolean equal(String truth, String answer) {
      return SQUAD.equal(truth, answer);
    }

    @Override
    public double f1(String truth, String answer) {
      boolean none = words(truth).isEmpty();
      return none || words(answer).isEmpty()
          ? (none && words(answer).isEmpty() ? 1 : 0)
          : SQUAD.f1(truth, answer);
    }
  },

  /**
   * CMRC 2018 (Cui et al. 2019), for Chinese: characters, and words of other scripts; some
   * punctuation left out; F1 over the longest run both share. Words of other scripts end at a space
   * or at punctuation on their edge; CMRC's own script calls NLTK there, which cuts contractions
   * too.
   */
  CMRC {
    @Override
    public boolean equal(String truth, String answer) {
      return withoutSigns(truth).equals(withoutSigns(answer));
    }

    @Override
    public double f1(String truth, String answer) {
      List<String> truths = units(truth);
      List<String> answers = units(answer);
      return harmonic(longestRun(truths, answers), truths.size(), answers.size());
    }
  };

  private static final Pattern PUNCTUATION = Pattern.compile("\\p{Punct}");
  private static final Pattern ARTICLES =
      Pattern.compile("\\b(a|an|the)\\b", Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern SPACE = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);
  private static final String CMRC_SIGNS = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』";

  /** Whether the two are the same answer. */
  public abstract boolean equal(String truth, String answer);

  /** F1 of what the two share, in [0, 1]. */
  public abstract double f1(String truth, String answer);

  /** SQuAD's normal form of an answer. */
  static String normalize(String text) {
    String plain = PUNCTUATION.matcher(text.toLowerCase(Locale.ROOT)).replaceAll("");
    return SPACE.matcher(ARTICLES.matcher(plain).replaceAll(" ")).replaceAll(" ").strip();
  }

  private static List<String> words(String text) {
    String plain = normalize(text);
    return plain.isEmpty() ? List.of() : List.of(plain.split(" "));
  }

  private static String withoutSigns(String text) {
    StringBuilder kept = new StringBuilder();
    String plain = text.toLowerCase(Locale.ROOT).strip();
    plain.chars().filter(c -> CMRC_SIGNS.indexOf(c) < 0).forEach(c -> kept.append((char) c));
    return kept.toString();
  }

  private static List<String> units(String text) {
    List<String> units = new ArrayList<>();
    StringBuilder other = new StringBuilder();
    String plain = withoutSigns(text);
    for (int i = 0; i < plain.length(); i++) {
      char c = plain.charAt(i);
      if (c >= 0x4E00 && c <= 0x9FA5) {
        otherWords(other, units);
        units.add(String.valueOf(c));
      } else {
        other.append(c);
      }
    }
    otherWords(other, units);
    return units;
  }

  private static void otherWords(StringBuilder text, List<String> units) {
    for (String word : SPACE.split(text)) {
      int begin = 0;
      int end = word.length();
      while (begin < end && !letter(word.charAt(begin))) {
        begin++;
      }
      while (end > begin && !letter(word.charAt(end - 1))) {
        end--;
      }
      signs(word.substring(0, begin), units);
      if (begin < end) {
        units.add(word.substring(begin, end));
      }
      signs(word.substring(end), units);
    }
    text.setLength(0);
  }

  /** Punctuation apart, but a repeated sign, such as an ellipsis, in one. */
  private static void signs(String text, List<String> units) {
    for (int begin = 0, end; begin < text.length(); begin = end) {
      end = begin + 1;
      while (end < text.length() && text.charAt(end) == text.charAt(begin)) {
        end++;
      }
      units.add(text.substring(begin, end));
    }
  }

  /** Characters beyond the first plane stay whole. */
  private static boolean letter(char c) {
    return Character.isLetterOrDigit(c) || Character.isSurrogate(c);
  }

  private static int common(List<String> truths, List<String> answers) {
    Map<String, Integer> left = new HashMap<>();
    truths.forEach(word -> left.merge(word, 1, Integer::sum));
    int common = 0;
    for (String word : answers) {
      if (left.merge(word, -1, Integer::sum) >= 0) {
        common++;
      }
    }
    return common;
  }

  private static int longestRun(List<String> truths, List<String> answers) {
    int[] row = new int[answers.size() + 1];
    int longest = 0;
    for (String unit : truths) {
      for (int j = answers.size(); j > 0; j--) {
        row[j] = unit.equals(answers.get(j - 1)) ? row[j - 1] + 1 : 0;
        longest = Math.max(longest, row[j]);
      }
    }
    return longest;
  }

  private static double harmonic(int common, int truth, int answer) {
    return common == 0 ? 0 : 2.0 * common / (truth + answer);
  }
}
