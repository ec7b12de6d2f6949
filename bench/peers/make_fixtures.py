"""Small seeded models of each family and task, with the reference implementation's numbers.

    python make_fixtures.py [OUT] [CASE ...]

OUT defaults to the test resources of java/graft. A case becomes a folder:

    config.json, model.safetensors  as transformers writes them
    reference.safetensors           the inputs, and in double: double.loss, double.<output>,
                                    double.grad.<parameter>
    reference.json                  errors: for each of those the largest distance of the fp32
                                    reference from it, over every way of CALCULATIONS

A new task is a function under @case that returns a model and its inputs.
"""

import itertools
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

RESOURCES = pathlib.Path(__file__).resolve().parents[2] / "java/graft/src/test/resources/peers"
CASES = {}

# Widths that are no multiple of a vector, so that kernels run their remainders.
VOCABULARY, POSITIONS, WIDTH, HEADS, INNER, LAYERS = 47, 20, 20, 4, 36, 2
SEQUENCES, LENGTHS = 3, (11, 7, 9)

# fp32 has as many answers as orders of summation. The reference's error is the worst of these: one
# draw of a scalar such as the loss may be right by luck.
CALCULATIONS = list(
    itertools.product(
        ("eager", "sdpa"),
        (True, False),  # oneDNN
        (0, 5),  # columns of padding more
        itertools.permutations(range(SEQUENCES)),
    )
)


def case(name):
    def register(function):
        CASES[name] = function
        return function

    return register


# ---- models


def bert_config(**more):
    return BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        **more,
    )


def roberta_config(**more):
    return RobertaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS + 2,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        **more,
    )


def distilbert_config(**more):
    return DistilBertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        dim=WIDTH,
        n_heads=HEADS,
        hidden_dim=INNER,
        n_layers=LAYERS,
        **more,
    )


def gpt2_config(**more):
    return GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=POSITIONS,
        n_embd=WIDTH,
        n_head=HEADS,
        n_layer=LAYERS,
        bos_token_id=0,
        eos_token_id=0,
        **more,
    )


# ---- inputs


def numbers(seed):
    return torch.Generator().manual_seed(seed)


def tokens(pad, segments=False):
    """A padded batch: input_ids, attention_mask and, if asked, token_type_ids."""
    columns = max(LENGTHS)
    ids = torch.randint(4, VOCABULARY, (SEQUENCES, columns), generator=numbers(1))
    mask = torch.tensor([[1] * n + [0] * (columns - n) for n in LENGTHS])
    inputs = {"input_ids": torch.where(mask == 1, ids, pad), "attention_mask": mask}
    if segments:
        inputs["token_type_ids"] = mask * (torch.arange(columns) >= 5)
    return inputs


def masked_words(inputs):
    """Labels at a third of the tokens."""
    shape = inputs["input_ids"].shape
    words = torch.randint(4, VOCABULARY, shape, generator=numbers(2))
    chosen = torch.rand(shape, generator=numbers(3)) < 0.34
    return torch.where(chosen & (inputs["attention_mask"] == 1), words, -100)


# ---- cases


@case("bert-masked-lm")
def bert_masked_lm():
    inputs = tokens(0, segments=True)
    return BertForMaskedLM(bert_config()), inputs | {"labels": masked_words(inputs)}


@case("bert-masked-lm-untied")
def bert_masked_lm_untied():
    inputs = tokens(0, segments=True)
    model = BertForMaskedLM(bert_config(tie_word_embeddings=False, hidden_act="gelu_new"))
    return model, inputs | {"labels": masked_words(inputs)}


@case("bert-pretraining")
def bert_pretraining():
    inputs = tokens(0, segments=True)
    labels = {"labels": masked_words(inputs), "next_sentence_label": torch.tensor([0, 1, 1])}
    return BertForPreTraining(bert_config()), inputs | labels


@case("bert-classification")
def bert_classification():
    labels = {"labels": torch.tensor([2, 0, 1])}
    return (
        BertForSequenceClassification(bert_config(num_labels=3)),
        tokens(0, segments=True) | labels,
    )


@case("bert-base")
def bert_base():
    return BertModel(bert_config()), tokens(0, segments=True)


@case("bert-base-without-pooler")
def bert_base_without_pooler():
    return BertModel(bert_config(), add_pooling_layer=False), tokens(0, segments=True)


@case("roberta-masked-lm")
def roberta_masked_lm():
    inputs = tokens(1)
    # The head has GELU whatever the blocks have.
    model = RobertaForMaskedLM(roberta_config(hidden_act="relu"))
    return model, inputs | {"labels": masked_words(inputs)}


@case("roberta-classification")
def roberta_classification():
    labels = {"labels": torch.tensor([1, 0, 3])}
    return RobertaForSequenceClassification(roberta_config(num_labels=4)), tokens(1) | labels


@case("distilbert-masked-lm")
def distilbert_masked_lm():
    inputs = tokens(0)
    return DistilBertForMaskedLM(distilbert_config()), inputs | {"labels": masked_words(inputs)}


@case("distilbert-classification")
def distilbert_classification():
    labels = {"labels": torch.tensor([1, 0, 1])}
    return DistilBertForSequenceClassification(distilbert_config()), tokens(0) | labels


def causal(tied):
    inputs = tokens(0)
    labels = torch.where(inputs["attention_mask"] == 1, inputs["input_ids"], -100)
    return GPT2LMHeadModel(gpt2_config(tie_word_embeddings=tied)), inputs | {"labels": labels}


@case("gpt2-lm")
def gpt2_lm():
    return causal(tied=True)


@case("gpt2-lm-untied")
def gpt2_lm_untied():
    return causal(tied=False)


# ---- recording


def scatter_weights(model):
    """Weights at which nothing is small: fresh ones have zero biases and flat attention."""
    generator = numbers(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_scale = "norm" in name.lower() or ".ln_" in name
            if is_scale and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_((0.1 if parameter.dim() == 1 else 0.15) * noise)


def widen(name, value, columns):
    """The same batch with more columns of padding."""
    if value.dim() < 2 or columns == 0:
        return value
    filler = {"labels": -100, "input_ids": value[-1, -1].item()}.get(name, 0)
    return torch.nn.functional.pad(value, (0, columns), value=filler)


def outputs(model, inputs, order, padding=0):
    """Every output and gradient by name; sequences computed in `order`, returned in their own."""
    order = list(order)
    width = inputs["input_ids"].shape[1]
    back = torch.tensor([order.index(i) for i in range(SEQUENCES)])
    model.zero_grad()
    result = model(
        **{
            name: widen(name, value, padding)[torch.tensor(order)]
            for name, value in inputs.items()
        },
        output_hidden_states=True,
        return_dict=True,
    )

    def cut(value):
        return value[:, :width] if value.dim() == 3 else value

    named = {}
    for name, value in result.items():
        if name == "hidden_states":
            named |= {f"hidden_states.{i}": cut(state[back]) for i, state in enumerate(value)}
        elif name == "loss":
            named[name] = value
        elif torch.is_tensor(value):
            named[name] = cut(value[back])
    if "loss" in named:
        named["loss"].backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                named["grad." + name] = parameter.grad
    return {name: value.detach().double().contiguous().clone() for name, value in named.items()}


def visible(name, value, mask):
    """Rows of padding are nobody's business."""
    if value.dim() == 3 and value.shape[:2] == mask.shape and not name.startswith("grad."):
        return value * mask[:, :, None]
    return value


def record(name, directory):
    torch.manual_seed(0)
    model, inputs = CASES[name]()
    scatter_weights(model)
    model.eval()
    if directory.exists():
        shutil.rmtree(directory)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)

    mask = inputs["attention_mask"]
    singles = []
    for attention, onednn, padding, order in CALCULATIONS:
        model.set_attn_implementation(attention)
        with torch.backends.mkldnn.flags(enabled=onednn):
            singles.append(outputs(model, inputs, order, padding))
    model.set_attn_implementation("eager")
    exact = outputs(model.double(), inputs, range(SEQUENCES))

    tensors = dict(inputs)
    errors = {}
    for key, value in exact.items():
        value = visible(key, value, mask)
        tensors["double." + key] = value
        errors[key] = max(
            (visible(key, single[key], mask) - value).abs().max().item() for single in singles
        )
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, directory / "reference.safetensors")
    about = {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "errors": errors,
    }
    (directory / "reference.json").write_text(json.dumps(about, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESOURCES
    for name in sys.argv[2:] or CASES:
        record(name, out / name)
        size = sum(file.stat().st_size for file in (out / name).iterdir())
        print(f"{name}: {size:,} bytes")


if __name__ == "__main__":
    main()
