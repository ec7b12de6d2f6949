"""Whether batches of texts of like length would pay, where nothing is padded.

    python length_sorting.py TOKENIZER.json

Graft computes a batch's tokens rounded up to a multiple of 128. Printed is what that costs, rows
computed for each token, for shuffled batches and for batches sorted by length in windows of 50.
"""

import csv
import gzip
import math
import pathlib
import random
import sys

from tokenizers import Tokenizer

DATA = (
    pathlib.Path(__file__).resolve().parents[2]
    / "java/graft/src/main/resources/dev/graft/quickstart/banking77-train.csv.gz"
)
BUCKET, WINDOW, EPOCHS = 128, 50, 5


def sorted_in_windows(lengths, batch):
    result = []
    for first in range(0, len(lengths), WINDOW * batch):
        window = sorted(lengths[first : first + WINDOW * batch])
        batches = [window[i : i + batch] for i in range(0, len(window), batch)]
        random.shuffle(batches)
        for one in batches:
            result += one
    return result


def rows_per_token(orders, batch):
    rows = tokens = 0
    for order in orders:
        for first in range(0, len(order) - batch + 1, batch):
            length = sum(order[first : first + batch])
            rows += math.ceil(length / BUCKET) * BUCKET
            tokens += length
    return rows / tokens


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        lengths = [len(tokenizer.encode(row["text"]).ids) for row in csv.DictReader(file)]
    random.seed(0)
    shuffled = [random.sample(lengths, len(lengths)) for _ in range(EPOCHS)]
    for batch in (8, 16, 32):
        by_length = [sorted_in_windows(order, batch) for order in shuffled]
        print(
            f"{batch:3d} texts a batch: shuffled {rows_per_token(shuffled, batch):.3f},"
            f" sorted {rows_per_token(by_length, batch):.3f}"
        )


if __name__ == "__main__":
    main()
