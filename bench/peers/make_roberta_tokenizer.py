"""A small RoBERTa vocabulary in its older files, and the ids the reference gives with it.

    python make_roberta_tokenizer.py

Takes the tokens and merges of the byte-level fixture, puts RoBERTa's special tokens around them as
the published vocabulary has them, and freezes what transformers makes of texts.json.
"""

import json
import pathlib

from transformers import AutoTokenizer

TEXTS = pathlib.Path(__file__).resolve().parents[2] / "java/graft/src/test/resources/text"
NAME = "roberta-files"


def main():
    out = TEXTS / NAME
    out.mkdir(exist_ok=True)
    plain = json.loads((TEXTS / "byte-level-bpe-files/vocab.json").read_text("utf-8"))
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(plain, key=plain.get), "<mask>"]
    vocabulary = {token: id for id, token in enumerate(tokens)}
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    merges = (TEXTS / "byte-level-bpe-files/merges.txt").read_text("utf-8")
    (out / "merges.txt").write_text(merges, "utf-8")
    # As the published tokenizer.json has it: a mask takes the blank before it along.
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False}
    mask |= {"normalized": False, "single_word": False}
    config = {"tokenizer_class": "RobertaTokenizer", "mask_token": mask}
    (out / "tokenizer_config.json").write_text(json.dumps(config) + "\n")

    tokenizer = AutoTokenizer.from_pretrained(out)
    texts = json.loads((TEXTS / "texts.json").read_text("utf-8"))
    texts.append("Where is <mask> card, and   <mask>?")
    rows = []
    for i, text in enumerate(texts):
        other = texts[(i + 7) % (len(texts) - 1)]
        special = tokenizer(text)["input_ids"]
        pair = tokenizer.backend_tokenizer.encode(text, other)  # an empty second text is one, too
        row = {
            "special": special,
            "plain": tokenizer(text, add_special_tokens=False)["input_ids"],
            "pair": pair.ids,
            "types": pair.type_ids,
            "decoded": tokenizer.decode(special, True, clean_up_tokenization_spaces=False),
            "decodedAll": tokenizer.decode(special, clean_up_tokenization_spaces=False),
        }
        rows.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    (out / "expected.json").write_text("[\n" + ",\n".join(rows[:-1]) + "\n]\n", "utf-8")
    (out / "mask.json").write_text(rows[-1] + "\n", "utf-8")


if __name__ == "__main__":
    main()
