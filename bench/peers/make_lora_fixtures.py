"""LoRA adapters made by PEFT over the small models of make_fixtures.py, with its numbers.

    python make_lora_fixtures.py [OUT]

OUT defaults to java/graft's test resources `lora`. A case becomes a folder with the adapter as PEFT
writes it and, as make_fixtures.py has them, reference.safetensors and reference.json: the inputs,
and loss, logits and the gradients of all that trains, in double, beside PEFT's own fp32 error.
"""

import json
import pathlib
import shutil
import sys

import peft
import torch
import transformers
from make_fixtures import (
    CALCULATIONS,
    RESOURCES,
    SEQUENCES,
    masked_words,
    numbers,
    outputs,
    tokens,
    visible,
)
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

OUT = RESOURCES.parent / "lora"


def classification(name, labels, pad, segments=False):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(RESOURCES / name)
    return model, tokens(pad, segments) | {"labels": torch.tensor(labels)}


def causal():
    inputs = tokens(0)
    labels = torch.where(inputs["attention_mask"] == 1, inputs["input_ids"], -100)
    model = transformers.AutoModelForCausalLM.from_pretrained(RESOURCES / "gpt2-lm")
    return model, inputs | {"labels": labels}


def masked():
    inputs = tokens(0, segments=True)
    model = transformers.AutoModelForMaskedLM.from_pretrained(RESOURCES / "bert-masked-lm")
    return model, inputs | {"labels": masked_words(inputs)}


CASES = {
    # joined query, key and value of which two have an adapter
    "bert-query-value": (
        "bert-classification",
        lambda: classification("bert-classification", [2, 0, 1], 0, segments=True),
        dict(target_modules=["query", "value"], modules_to_save=["classifier", "pooler"]),
        "SEQ_CLS",
    ),
    "bert-all-linear": (
        "bert-classification",
        lambda: classification("bert-classification", [2, 0, 1], 0, segments=True),
        dict(target_modules=["query", "key", "value", "dense"], use_rslora=True),
        "SEQ_CLS",
    ),
    "bert-masked-lm": (
        "bert-masked-lm",
        masked,
        dict(target_modules=["key", "intermediate.dense", "transform.dense"]),
        None,
    ),
    "roberta": (
        "roberta-classification",
        lambda: classification("roberta-classification", [1, 0, 3], 1),
        dict(target_modules=["query", "output.dense"]),
        "SEQ_CLS",
    ),
    "distilbert": (
        "distilbert-classification",
        lambda: classification("distilbert-classification", [1, 0, 1], 0),
        dict(
            target_modules=["q_lin", "v_lin", "lin2"],
            modules_to_save=["pre_classifier", "classifier"],
        ),
        "SEQ_CLS",
    ),
    "gpt2": (
        "gpt2-lm",
        causal,
        dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True),
        "CAUSAL_LM",
    ),
}


def published(name):
    """A tensor's name in the adapter's file, without PEFT's wrappers."""
    for wrapper in ("base_model.model.", ".default", ".modules_to_save"):
        name = name.replace(wrapper, "")
    return name


def record(name, directory):
    base, make, settings, task = CASES[name]
    torch.manual_seed(0)
    model, inputs = make()
    config = LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, task_type=task, **settings)
    model = get_peft_model(model, config)
    generator = numbers(8)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.eval()
    if directory.exists():
        shutil.rmtree(directory)
    model.save_pretrained(directory)
    (directory / "README.md").unlink()
    (directory / "adapter_model.safetensors").chmod(0o644)
    file = directory / "adapter_config.json"
    saved = json.loads(file.read_text())
    saved["base_model_name_or_path"] = f"../../peers/{base}"
    file.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")

    mask = inputs["attention_mask"]
    singles = []
    for attention, onednn, padding, order in CALCULATIONS:
        model.base_model.model.set_attn_implementation(attention)
        with torch.backends.mkldnn.flags(enabled=onednn):
            singles.append(outputs(model, inputs, order, padding))
    model.base_model.model.set_attn_implementation("eager")
    exact = outputs(model.double(), inputs, range(SEQUENCES))

    tensors = dict(inputs)
    errors = {}
    for key, value in exact.items():
        if key.startswith("hidden_states"):
            continue
        value = visible(key, value, mask)
        tensors["double." + published(key)] = value
        errors[published(key)] = max(
            (visible(key, single[key], mask) - value).abs().max().item() for single in singles
        )
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, directory / "reference.safetensors")
    (directory / "reference.safetensors").chmod(0o644)
    about = {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "errors": errors,
    }
    (directory / "reference.json").write_text(json.dumps(about, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    for name in CASES:
        record(name, out / name)
        size = sum(file.stat().st_size for file in (out / name).iterdir())
        print(f"{name}: {size:,} bytes")


if __name__ == "__main__":
    main()
