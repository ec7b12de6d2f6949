"""Writes what transformers' generate does with the tiny GPT-2 of the tests, for BeamSearchTest.

  python bench/peers/make_generation_fixtures.py \
      java/graft/src/test/resources/models/hf-tiny-random-gpt2 \
      java/graft/src/test/resources/apply/generation.json
"""

import itertools
import json
import sys

import torch
from transformers import GPT2LMHeadModel


def main(model_dir, out):
    torch.manual_seed(0)
    model = GPT2LMHeadModel.from_pretrained(model_dir).eval()
    with open(f"{model_dir}/expected.json", encoding="utf-8") as file:
        prompts = json.load(file)["input_ids"]
    prompts = [prompts[0], prompts[1], prompts[2][3:], prompts[1][:3]]
    # End tokens that occur early, late and never among the most probable.
    cases = []
    grid = itertools.product((2, 4), (0.0, 1.0, 2.0, -1.0), (True, False, "never"), (98, 292, 328, 638), (1.0,))
    grid = list(grid) + list(itertools.product((3,), (1.0,), (True, False), (292, 669, 131), (1.3, 0.8)))
    for beams, penalty, early, eos, repetition in grid:
        answers = []
        for prompt in prompts:
            result = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                num_beams=beams,
                length_penalty=penalty,
                early_stopping=early,
                eos_token_id=eos,
                pad_token_id=0,
                repetition_penalty=repetition,
                max_new_tokens=9,
                return_dict_in_generate=True,
                output_scores=True,
            )
            answers.append({"tokens": result.sequences[0, len(prompt) :].tolist(), "score": result.sequences_scores[0].item()})
        cases.append(
            {"beams": beams, "length_penalty": penalty, "early_stopping": early, "eos": eos, "repetition_penalty": repetition, "answers": answers}
        )
    greedy = []
    for repetition in (1.0, 1.2, 2.0, 0.7):
        for prompt in prompts:
            result = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                num_beams=1,
                eos_token_id=999,
                pad_token_id=0,
                repetition_penalty=repetition,
                max_new_tokens=9,
            )
            greedy.append({"repetition_penalty": repetition, "prompt": prompt, "tokens": result[0, len(prompt) :].tolist()})
    # Loss of completions alone, over both together: labels of prompts are ignored.
    masked = []
    total = count = 0
    for ids, prompt in ((prompts[0], 7), (prompts[1], 1), (prompts[2], 5)):
        labels = torch.tensor([[-100] * prompt + ids[prompt:]])
        loss = model(torch.tensor([ids]), labels=labels).loss.item()
        masked.append({"ids": ids, "prompt": prompt, "loss": loss})
        total += loss * (len(ids) - prompt)
        count += len(ids) - prompt
    with open(out, "w", encoding="utf-8") as file:
        lines = [json.dumps(case, separators=(",", ":")) for case in cases]
        file.write('{"max_new_tokens":9,\n"prompts":' + json.dumps(prompts) + ',\n"masked":' + json.dumps({"examples": masked, "loss": total / count}) + ',\n"beam_search":[\n' + ",\n".join(lines) + '\n],\n"greedy":[\n')
        file.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in greedy) + "\n]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
