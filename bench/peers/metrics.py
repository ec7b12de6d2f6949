"""Writes the numbers that MetricsReferenceTest compares with.

Peers: scikit-learn, scipy, seqeval, rouge-score, and the evaluation scripts of SQuAD and CMRC 2018,
which are not packages and are given by path:

  SQuAD      metrics/squad/compute_score.py and metrics/squad_v2/compute_score.py of huggingface/evaluate
  CMRC 2018  baseline/cmrc2018_evaluate.py of ymcui/cmrc2018

  python bench/peers/metrics.py --squad FILE --squad-v2 FILE --cmrc FILE \
      java/graft/src/test/resources/metrics/reference.json
"""

import argparse
import functools
import importlib.util
import json
import warnings

import nltk
import numpy as np
from rouge_score import rouge_scorer
from scipy import stats
from seqeval.metrics import f1_score as entity_f1
from seqeval.metrics import precision_score, recall_score, accuracy_score
from seqeval.scheme import IOB2
from sklearn import metrics as sk


def correlations(rng):
    cases = {
        "noise": (rng.normal(size=40), rng.normal(size=40)),
        "ties": (rng.integers(0, 4, 50).astype(float), rng.integers(0, 4, 50).astype(float)),
        "far": (1e8 + rng.normal(size=30), -1e8 + rng.normal(size=30)),
        "line": (np.arange(10.0), 3 - 2 * np.arange(10.0)),
        "monotone": (np.arange(12.0), np.exp(np.arange(12.0))),
        "two": (np.array([1.0, 2.0]), np.array([5.0, 3.0])),
    }
    x = rng.normal(size=60)
    cases["related"] = (x, np.round(x + 0.5 * rng.normal(size=60), 1))
    return [
        {
            "name": name,
            "x": x.tolist(),
            "y": y.tolist(),
            "pearson": float(stats.pearsonr(x, y)[0]),
            "spearman": float(stats.spearmanr(x, y)[0]),
            "mse": float(sk.mean_squared_error(x, y)),
            "mae": float(sk.mean_absolute_error(x, y)),
        }
        for name, (x, y) in cases.items()
    ]


def multi_label(rng):
    def case(name, truth, answer):
        return {
            "name": name,
            "truth": truth.astype(int).tolist(),
            "answer": answer.astype(int).tolist(),
            "f1_micro": sk.f1_score(truth, answer, average="micro", zero_division=0),
            "f1_macro": sk.f1_score(truth, answer, average="macro", zero_division=0),
            "f1_samples": sk.f1_score(truth, answer, average="samples", zero_division=0),
            "exact_match": sk.accuracy_score(truth, answer),
        }

    truth = rng.random((60, 5)) < 0.3
    absent = truth.copy()
    absent[:, 2] = False
    return [
        case("noise", truth, rng.random((60, 5)) < 0.3),
        case("close", truth, truth ^ (rng.random((60, 5)) < 0.1)),
        case("absent label", absent, absent ^ (rng.random((60, 5)) < np.array([0.1, 0.1, 0, 0.1, 0.1]))),
        case("none answered", truth, np.zeros_like(truth)),
        case("perfect", truth, truth),
    ]


def entities(rng):
    def tags(count, prefixes):
        choice = ["O"] * 3 + [f"{p}-{t}" for p in prefixes for t in ("PER", "LOC", "MISC-X")]
        return [choice[i] for i in rng.integers(0, len(choice), count)]

    def noisy(sentences, prefixes):
        return [
            [t if rng.random() < 0.8 else tags(1, prefixes)[0] for t in sentence] for sentence in sentences
        ]

    cases = []
    for name, prefixes in (("IOB", "BI"), ("IOBES", "BIES")):
        truth = [tags(int(n), prefixes) for n in rng.integers(1, 15, 30)]
        cases.append((name, truth, noisy(truth, prefixes)))
    plain = [["B-PER", "I-PER", "O", "B-LOC", "B-LOC"], ["I-LOC", "I-PER", "B-PER", "I-LOC", "O"], ["O", "O"]]
    cases.append(("written", plain, [["B-PER", "I-PER", "O", "B-LOC", "I-LOC"], ["I-LOC", "I-PER", "I-PER", "I-LOC", "O"], ["B-X", "O"]]))
    cases.append(("bare prefixes", [["B", "I", "O", "B"]], [["B", "I", "O", "I"]]))
    out = []
    for name, truth, answer in cases:
        for scheme, options in (("LENIENT", {}), ("STRICT_IOB2", {"mode": "strict", "scheme": IOB2})):
            if scheme == "STRICT_IOB2" and name == "IOBES":
                continue
            out.append(
                {
                    "name": name,
                    "scheme": scheme,
                    "truth": truth,
                    "answer": answer,
                    "f1": float(entity_f1(truth, answer, **options)),
                    "precision": float(precision_score(truth, answer, **options)),
                    "recall": float(recall_score(truth, answer, **options)),
                    "f1_macro": float(entity_f1(truth, answer, average="macro", **options)),
                    "accuracy": float(accuracy_score(truth, answer)),
                }
            )
    return out


SQUAD = [
    (["Denver Broncos", "The Denver Broncos"], "the Denver  Broncos!"),
    (["Denver Broncos"], "Broncos of Denver"),
    (["Saint Bernadette Soubirous"], "Bernadette"),
    (["a an the"], "The"),
    (["the"], "x"),
    (["U.S. Army's"], "US Armys"),
    (["1,000-year-old"], "1000 year old"),
    (["Café Nero", "cafe"], "CAFÉ\u00a0nero"),
    (["“gold”"], "gold"),
    (["theatre anthem"], "a theatre an anthem"),
    (["gold gold blue"], "gold blue blue"),
    (["北京 大学"], "北京大学"),
    (["nothing"], ""),
]
NO_ANSWER = [([], ""), ([], "something"), ([], "the"), (["the", "a"], "an"), (["Paris"], ""), (["Paris"], "paris")]

CMRC = [
    (["《光荣和梦想》"], "光荣和梦想"),
    (["1988年5月11日"], "1988年5月"),
    (["武汉大学", "武汉大学医学部"], "大学医学部"),
    (["光荣使命OL手游"], "光荣使命ol"),
    (["由Koei和ω-force开发"], "koei和ωforce 开发"),
    (["iPhone 4S, iPad 2"], "iphone 4s"),
    (["上海、北京"], "北京，上海"),
    (["没有"], "全部"),
    (["3.5 million (2010)"], "3.5 million"),
    (["“Hello world.”"], "hello world."),
    (["𠮷野家"], "𠮷野家店"),
    (["他说……是的"], "他说是的"),
]

ROUGE = [
    ("The quick brown fox jumps over the lazy dog.", ["A quick brown dog jumped over the lazy fox."]),
    ("police killed the gunman", ["police kill the gunman"]),
    ("the gunman kill police", ["police kill the gunman"]),
    ("the the the the", ["the cat sat on the mat"]),
    ("", ["something"]),
    ("something", [""]),
    ("one", ["one"]),
    ("It's 3.5% of U.S. output (2010)!", ["its 3 5 of us output 2010", "it s 3.5 % of U S output"]),
    ("a_b c-d\ne\tf", ["a b\nc d e f"]),
    ("first line\nsecond line of it", ["second line of it\nfirst line"]),
]
ROUGE_CHARACTERS = [
    ("中国经济增长放缓", ["中国的经济增长正在放缓", "经济"]),
    ("他在北京工作，3年了。", ["他在北京工作了3年"]),
    ("东京タワーは高い", ["東京タワーはとても高い"]),
    ("用 Java 训练 BERT 模型", ["使用Java训练bert"]),
    ("", ["中"]),
]


class Characters:
    """The same words as rouge-score's own, and each Han character, hiragana and katakana."""

    def tokenize(self, text):
        import regex

        return regex.findall(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[^\W_\p{Han}\p{Hiragana}\p{Katakana}]+", text.lower())


def rouge(cases, tokenizer):
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False, tokenizer=tokenizer)
    return [
        {
            "text": text,
            "references": references,
            **{k: [v.precision, v.recall, v.fmeasure] for k, v in scorer.score(references[0], text).items()},
            "best": {k: v.fmeasure for k, v in scorer.score_multi(references, text).items()},
        }
        for text, references in cases
    ]


def script(path):
    spec = importlib.util.spec_from_file_location("script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(name, cases, exact, f1):
    return [
        {
            "rules": name,
            "truths": truths,
            "answer": answer,
            "exact_match": float(max(exact(t, answer) for t in truths or [""])),
            "f1": float(max(f1(t, answer) for t in truths or [""])),
        }
        for truths, answer in cases
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", required=True)
    parser.add_argument("--squad-v2", required=True)
    parser.add_argument("--cmrc", required=True)
    parser.add_argument("out")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(7)
    # The sentence splitter needs a download and answers are one sentence.
    nltk.word_tokenize = functools.partial(nltk.word_tokenize, preserve_line=True)
    v1, v2, cmrc = script(options.squad), script(options.squad_v2), script(options.cmrc)
    squad_totals = {}
    data = [{"paragraphs": [{"qas": [{"id": str(i), "answers": {"text": t}} for i, (t, _) in enumerate(SQUAD + NO_ANSWER)]}]}]
    given = {str(i): a for i, (_, a) in enumerate(SQUAD + NO_ANSWER)}
    exact, f1 = v2.get_raw_scores(data, given)
    squad_totals = {k: v / 100 for k, v in v2.make_eval_dict(exact, f1).items() if k != "total"}
    out = {
        "correlations": correlations(rng),
        "multi_label": multi_label(rng),
        "entities": entities(rng),
        "rouge": rouge(ROUGE, None) + rouge(ROUGE_CHARACTERS, Characters()),
        "answers": answers("SQUAD", SQUAD, lambda t, a: v1.exact_match_score(a, t), lambda t, a: v1.f1_score(a, t))
        + answers("SQUAD_V2", SQUAD, v2.compute_exact, v2.compute_f1)
        + answers("CMRC", CMRC, lambda t, a: cmrc.calc_em_score([t], a), lambda t, a: cmrc.calc_f1_score([t], a)),
        "squad_v2": {
            "cases": [{"truths": t, "answer": a} for t, a in SQUAD + NO_ANSWER],
            "exact_match": squad_totals["exact"],
            "f1": squad_totals["f1"],
        },
    }
    with open(options.out, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in out.items()) + "\n}\n")


if __name__ == "__main__":
    main()
