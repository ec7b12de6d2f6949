"""Writes vectors of sentence-transformers for EmbeddingsTest: a small BERT, pooled in all ways.

  python bench/peers/make_embedding_fixtures.py \
      java/graft/src/test/resources/models/tribuo-tinybert \
      java/graft/src/test/resources/apply/embeddings.json
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from sentence_transformers import SentenceTransformer

TEXTS = [
    "a train station is a railway facility or area where trains regularly stop",
    "Hello there",
    "",
    "trains , trains and more trains " * 20,
]


def layout(folder, source, pooling, normalize, length):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(source / name, folder / name)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")] + ([("Normalize", "2_Normalize")] if normalize else [])
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (kind, path) in enumerate(modules)
            ]
        )
    )
    (folder / "1_Pooling/config.json").write_text(
        json.dumps(
            {
                "word_embedding_dimension": 50,
                "pooling_mode_cls_token": pooling == "cls",
                "pooling_mode_mean_tokens": pooling == "mean",
                "pooling_mode_max_tokens": False,
                "pooling_mode_mean_sqrt_len_tokens": False,
            }
        )
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length, "do_lower_case": False}))


def main(source, out):
    cases = []
    for pooling in ("mean", "cls"):
        for normalize in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                layout(Path(folder), Path(source), pooling, normalize, 24)
                model = SentenceTransformer(folder, device="cpu")
                vectors = model.encode(TEXTS, batch_size=2)
                cases.append({"pooling": pooling, "normalized": normalize, "max_length": 24, "vectors": vectors.tolist()})
    with open(out, "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        file.write('{"texts":' + json.dumps(TEXTS) + ',\n"cases":[\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
