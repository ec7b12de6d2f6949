"""Token ids of Graft beside those of Hugging Face's tokenizers, line by line.

    python check_ids.py TOKENIZER TEXTS ...

TOKENIZER is a directory with tokenizer.json; TEXTS are UTF-8 files, a text a line. Ends with 1 if a
line differs.
"""

import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
AT_ONCE = 20_000


def graft(*arguments, text=None):
    command = [str(ROOT / "graft"), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def lines(path):
    """Only a line feed, with or without a carriage return, ends a line, as Graft reads."""
    text = pathlib.Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    return [line for line in text.split("\n") if line.strip()]


def differing(texts, directory):
    """How many texts have other ids, and how many ids there are."""
    text = "\n".join(texts) + "\n"
    out = graft("tokenizer", "encode", "--tokenizer", directory, "--json", text=text)
    got = [json.loads(line) for line in out.split("\n") if line]
    tokenizer = Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    others = tokens = 0
    for first in range(0, len(texts), AT_ONCE):
        part = texts[first : first + AT_ONCE]
        for mine, reference in zip(got[first : first + AT_ONCE], tokenizer.encode_batch(part)):
            others += mine != reference.ids
            tokens += len(reference.ids)
    if len(got) != len(texts):
        raise RuntimeError(f"{len(got)} lines came back of {len(texts)}")
    return others, tokens


def main():
    fine = True
    for path in sys.argv[2:]:
        texts = lines(path)
        others, tokens = differing(texts, sys.argv[1])
        print(f"{path}: {len(texts):,} texts, {tokens:,} ids, {others} texts differ", flush=True)
        fine &= others == 0
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
