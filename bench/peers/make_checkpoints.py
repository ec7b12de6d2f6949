"""Files as torch.save writes them, and what is in them, for the tests of Graft's own reader.

    python make_checkpoints.py [OUT]

OUT defaults to the test resources of java/graft.

    views-{zip,legacy,protocol4}.bin   tensors of every dtype and layout
    views.safetensors                  their numbers, contiguous, in double
    bert-{zip,legacy}/, bert-shards/   the weights of the fixture bert-masked-lm as published
                                       checkpoints carry them: both names of tied tensors, buffers
"""

import collections
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

RESOURCES = pathlib.Path(__file__).resolve().parents[2] / "java/graft/src/test/resources"


def views():
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(6, 8, generator=generator)
    cube = torch.randn(3, 4, 5, generator=generator)
    wide = torch.randn(64, generator=generator) * 1e3
    return collections.OrderedDict(
        plain=base,
        again=base,
        transposed=base.t(),
        row=base[3],
        column=base[:, 2],
        corner=base[2:5, 3:7],
        every_second=base[::2, 1::3],
        flat_tail=base.view(-1)[5:],
        permuted=cube.permute(2, 0, 1),
        expanded=base[0].expand(3, 8),
        one_axis=cube[1:2].transpose(0, 2),
        scalar=torch.tensor(-0.5),
        empty=torch.empty(0, 7),
        half=wide.half(),
        half_transposed=wide.view(8, 8).half().t(),
        bfloat16=wide.bfloat16(),
        double=wide.double() / 3,
        long=torch.arange(5),
        int=torch.arange(5, dtype=torch.int32),
        short=torch.arange(5, dtype=torch.int16),
        char=torch.arange(5, dtype=torch.int8),
        byte=torch.arange(5, dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        parameter=torch.nn.Parameter(base.clone()),
        tiny=torch.tensor([6e-8, 1e-7, 65504.0, float("inf"), float("nan")]).half(),
    )


def bert(weights):
    """What older releases stored besides: the tied decoder, the buffer of positions."""
    whole = collections.OrderedDict(weights)
    word = whole["bert.embeddings.word_embeddings.weight"]
    whole["cls.predictions.decoder.weight"] = word
    whole["cls.predictions.decoder.bias"] = whole["cls.predictions.bias"]
    whole["bert.embeddings.position_ids"] = torch.arange(20).expand((1, -1))
    whole._metadata = collections.OrderedDict({"": {"version": 1}})
    return whole


def shards(weights, folder):
    names = list(weights)
    parts = [names[0::2], names[1::2]]
    index = {"metadata": {"total_size": 0}, "weight_map": {}}
    for number, part in enumerate(parts, 1):
        file = f"pytorch_model-{number:05d}-of-{len(parts):05d}.bin"
        torch.save({name: weights[name].clone() for name in part}, folder / file)
        index["weight_map"] |= {name: file for name in part}
    text = json.dumps(index, indent=1, sort_keys=True)
    (folder / "pytorch_model.bin.index.json").write_text(text + "\n")


def main():
    resources = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESOURCES
    out = resources / "checkpoints"
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    tensors = views()
    torch.save(tensors, out / "views-zip.bin")
    torch.save(tensors, out / "views-legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(dict(tensors), out / "views-protocol4.bin", pickle_protocol=4)
    numbers = {name: tensor.detach().double().contiguous() for name, tensor in tensors.items()}
    save_file({name: tensor.clone() for name, tensor in numbers.items()}, out / "views.safetensors")

    fixture = RESOURCES / "peers/bert-masked-lm"
    weights = bert(load_file(fixture / "model.safetensors"))
    for form in ("zip", "legacy", "shards"):
        folder = out / f"bert-{form}"
        folder.mkdir()
        shutil.copy(fixture / "config.json", folder)
        if form == "shards":
            shards(weights, folder)
        else:
            torch.save(
                weights,
                folder / "pytorch_model.bin",
                _use_new_zipfile_serialization=form == "zip",
            )


if __name__ == "__main__":
    main()
