"""Loads in transformers what Graft wrote, for every fixture of make_fixtures.py.

    python check_saved.py [CASE ...]

For each case Graft loads the model and saves it twice: as it is, and after three steps of training.
The first must give transformers the very logits of the original, bit for bit; of the second
transformers' numbers must be Graft's own within 1e-4 of their norm. No tensor may be missing, left
over or of another shape. Ends with 1 if one case fails.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "java/graft/src/test/resources/peers"
BOUND = 1e-4


def graft(*arguments):
    command = [str(ROOT / "graft"), "trace", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())


def load(directory, **more):
    architecture = json.loads((directory / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, architecture).from_pretrained(
        directory, output_loading_info=True, **more
    )
    left = {kind: keys for kind, keys in info.items() if keys}
    if left:
        raise RuntimeError(f"{directory}: {left}")
    # Tensors mapped from a file lie at any multiple of 4, and PyTorch's products of one column round
    # by where they lie: the same weights at the same alignment are what is compared.
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = tensor.data.clone()
    return model.eval()


def numbers(model, inputs):
    with torch.no_grad():
        result = model(**inputs, output_hidden_states=True, return_dict=True)
    named = {name: value for name, value in result.items() if torch.is_tensor(value)}
    return named | {"last_hidden_state": result.hidden_states[-1]}


def distance(one, other, mask):
    """Relative; rows of padding are nobody's business."""
    columns = mask.shape[-1]
    for width in (1, *other.shape[-1:]):
        if other.numel() == mask.numel() * width and columns in other.shape[-2:]:
            seen = mask.reshape(-1, columns, 1)
            one, other = (value.reshape(-1, columns, width) * seen for value in (one, other))
            break
    return ((one - other).norm() / other.norm()).item()


def check(case, folder):
    model = FIXTURES / case
    reference = model / "reference.safetensors"
    tensors = load_file(reference)
    inputs = {name: value for name, value in tensors.items() if not name.startswith("double.")}
    # A base model without a pooler is loaded without one.
    more = {"add_pooling_layer": False} if case.endswith("without-pooler") else {}

    graft("--model", model, "--inputs", reference, "--outputs", folder / "o", "--save", folder / "a")
    was, saved = numbers(load(model, **more), inputs), numbers(load(folder / "a", **more), inputs)
    differing = [name for name in was if not torch.equal(was[name], saved[name])]

    worst = 0
    after = folder / "a"
    if "double.loss" in tensors:
        after = folder / "b"
        graft("--model", model, "--inputs", reference, "--steps", 3, "--save", after)
    graft("--model", after, "--inputs", reference, "--outputs", folder / "after.safetensors")
    want, got = numbers(load(after, **more), inputs), load_file(folder / "after.safetensors")
    for name in want.keys() & got.keys():
        worst = max(worst, distance(got[name], want[name], inputs["attention_mask"]))
    print(f"{case}: {len(was)} outputs, differing {differing or 'none'}; trained {worst:.1e}")
    return not differing and worst < BOUND


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = sys.argv[1:] or sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
    fine = True
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            fine &= check(case, pathlib.Path(folder))
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
