"""Whether PEFT reads an adapter that Graft wrote, and answers as Graft does.

    python check_adapter.py inputs IDS.safetensors VOCABULARY
    graft trace --model ADAPTER --inputs IDS.safetensors --outputs GRAFT.safetensors
    python check_adapter.py compare ADAPTER IDS.safetensors GRAFT.safetensors [MERGED]

ADAPTER is the folder of a run's adapter of a classifier, its base where adapter_config.json says;
MERGED, the run's model, is read by transformers alone. Printed are the largest logit and the largest
differences: PEFT in double from Graft, from PEFT in fp32, and from the merged model in double.
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification


def inputs(file, vocabulary):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, vocabulary, (4, 24), generator=generator)
    mask = (torch.arange(24)[None, :] < torch.tensor([24, 9, 17, 13])[:, None]).long()
    save_file({"input_ids": ids, "attention_mask": mask}, file)


def logits(model, batch, dtype):
    with torch.no_grad():
        return model.to(dtype).eval()(**batch).logits.double()


def compare(adapter, file, traced, merged=None):
    adapter = pathlib.Path(adapter)
    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    labels = len(json.loads((adapter / "config.json").read_text())["id2label"])
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    model = PeftModel.from_pretrained(model, adapter)
    batch = load_file(file)
    single = logits(model, batch, torch.float32)
    exact = logits(model, batch, torch.float64)
    graft = load_file(traced)["logits"].double()
    print(f"largest logit {exact.abs().max():.4g}")
    print(f"Graft from PEFT in double {(graft - exact).abs().max():.3g}")
    print(f"PEFT in fp32 from PEFT in double {(single - exact).abs().max():.3g}")
    if merged:
        whole = AutoModelForSequenceClassification.from_pretrained(merged)
        apart = (logits(whole, batch, torch.float64) - exact).abs().max()
        print(f"merged model from PEFT, in double {apart:.3g}")


if __name__ == "__main__":
    if sys.argv[1] == "inputs":
        inputs(sys.argv[2], int(sys.argv[3]))
    else:
        compare(*sys.argv[2:])
