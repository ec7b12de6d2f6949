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
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
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


def tokens(pad, segments=False, seed=1, lengths=LENGTHS):
    """A padded batch: input_ids, attention_mask and, if asked, token_type_ids."""
    columns = max(lengths)
    ids = torch.randint(4, VOCABULARY, (SEQUENCES, columns), generator=numbers(seed))
    mask = torch.tensor([[1] * n + [0] * (columns - n) for n in lengths])
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


def token_classes(inputs, classes):
    """A class for half of the tokens, as where only the first piece of a word has one."""
    shape = inputs["input_ids"].shape
    labels = torch.randint(0, classes, shape, generator=numbers(4))
    chosen = torch.rand(shape, generator=numbers(5)) < 0.5
    return {"labels": torch.where(chosen & (inputs["attention_mask"] == 1), labels, -100)}


def answers(pad, segments=False):
    """Sequences of one length, for the reference's softmax also runs over padding; one answer ends
    outside, and is not counted."""
    inputs = tokens(pad, segments, lengths=(9, 9, 9))
    return inputs | {
        "start_positions": torch.tensor([2, 0, 8]),
        "end_positions": torch.tensor([4, 0, 11]),
    }


def questions(pad, segments=False):
    """Two choices a question: tokens [B, 2, T]."""
    one, two = tokens(pad, segments), tokens(pad, segments, seed=6, lengths=(8, 11, 7))
    inputs = {name: torch.stack([one[name], two[name]], 1) for name in one}
    return inputs | {"labels": torch.tensor([1, 0, 1])}


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


@case("bert-multi-label")
def bert_multi_label():
    labels = {"labels": torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]])}
    config = bert_config(num_labels=4, problem_type="multi_label_classification")
    return BertForSequenceClassification(config), tokens(0, segments=True) | labels


@case("bert-regression")
def bert_regression():
    labels = {"labels": torch.tensor([0.3, -1.2, 2.5])}
    config = bert_config(num_labels=1, problem_type="regression")
    return BertForSequenceClassification(config), tokens(0, segments=True) | labels


@case("roberta-regression-of-three")
def roberta_regression_of_three():
    labels = {"labels": torch.tensor([[0.3, 1, 2], [-1.2, 0, 1], [2.5, 0.5, -1]])}
    config = roberta_config(num_labels=3, problem_type="regression")
    return RobertaForSequenceClassification(config), tokens(1) | labels


@case("distilbert-multi-label")
def distilbert_multi_label():
    labels = {"labels": torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])}
    config = distilbert_config(num_labels=3, problem_type="multi_label_classification")
    return DistilBertForSequenceClassification(config), tokens(0) | labels


@case("bert-tokens")
def bert_tokens():
    inputs = tokens(0, segments=True)
    return BertForTokenClassification(bert_config(num_labels=5)), inputs | token_classes(inputs, 5)


@case("roberta-tokens")
def roberta_tokens():
    inputs = tokens(1)
    model = RobertaForTokenClassification(roberta_config(num_labels=3))
    return model, inputs | token_classes(inputs, 3)


@case("distilbert-tokens")
def distilbert_tokens():
    inputs = tokens(0)
    model = DistilBertForTokenClassification(distilbert_config(num_labels=3))
    return model, inputs | token_classes(inputs, 3)


@case("bert-answers")
def bert_answers():
    return BertForQuestionAnswering(bert_config()), answers(0, segments=True)


@case("roberta-answers")
def roberta_answers():
    return RobertaForQuestionAnswering(roberta_config()), answers(1)


@case("distilbert-answers")
def distilbert_answers():
    return DistilBertForQuestionAnswering(distilbert_config()), answers(0)


@case("bert-choices")
def bert_choices():
    return BertForMultipleChoice(bert_config()), questions(0, segments=True)


@case("roberta-choices")
def roberta_choices():
    return RobertaForMultipleChoice(roberta_config()), questions(1)


@case("distilbert-choices")
def distilbert_choices():
    return DistilBertForMultipleChoice(distilbert_config()), questions(0)


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
    if value.dim() < 2 or columns == 0 or value.is_floating_point():
        return value
    filler = {"labels": -100, "input_ids": value.flatten()[-1].item()}.get(name, 0)
    return torch.nn.functional.pad(value, (0, columns), value=filler)


def outputs(model, inputs, order, padding=0):
    """Every output and gradient by name; sequences computed in `order`, returned in their own."""
    order = list(order)
    width = inputs["input_ids"].shape[-1]
    back = torch.tensor([order.index(i) for i in range(SEQUENCES)])
    # The reference's answers run over padding, too.
    padding = 0 if "start_positions" in inputs else padding
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

    def in_order(state):
        choices = state.shape[0] // SEQUENCES
        return state.view(SEQUENCES, choices, *state.shape[1:])[back].flatten(0, 1)

    named = {}
    for name, value in result.items():
        if name == "hidden_states":
            named |= {f"hidden_states.{i}": cut(in_order(state)) for i, state in enumerate(value)}
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
    mask = mask.flatten(0, -2)
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
