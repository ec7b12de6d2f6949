"""Banking77 as labelled files with validation questions, for docs/results/fine-tuning.md.

    python banking77_split.py OUT

Writes train.csv (26 questions an intent), valid.csv (7 others) and test.csv. Training questions that
are in the test set, too, are left out.
"""

import collections
import csv
import gzip
import pathlib
import random
import sys

DATA = (
    pathlib.Path(__file__).resolve().parents[2]
    / "java/graft/src/main/resources/dev/graft/quickstart"
)
TRAIN, VALID = 26, 7


def read(part):
    with gzip.open(DATA / f"banking77-{part}.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    test = read("test")
    tested = {row["text"].lower() for row in test}
    by_intent = collections.defaultdict(list)
    for row in read("train"):
        if row["text"].lower() not in tested:
            by_intent[row["category"]].append(row)
    random.seed(1)
    train, valid = [], []
    for intent in sorted(by_intent):
        rows = by_intent[intent]
        random.shuffle(rows)
        train += rows[:TRAIN]
        valid += rows[TRAIN : TRAIN + VALID]
    random.shuffle(train)
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "category"])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
