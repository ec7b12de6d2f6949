"""Fine-tunes a text classifier by transformers' Trainer, as the peer of `graft finetune`.

    python finetune_classification.py --model DIR --train train.tsv --valid dev.tsv \
        --epochs 4 --lr 1.4e-4 --seeds 1,2,3

Files are tab-separated with a header; the columns are named by --text and --label. Prints one JSON
line a seed: accuracy on the validation set after the last epoch, seconds of training without
loading and evaluation, and peak memory. Everything else is what a user of the Trainer would get:
AdamW, decay 0.01, linear schedule after a tenth of warm-up, clip 1.0, dynamic padding, fp32.
"""

import argparse
import csv
import json
import resource
import time

import numpy as np
import torch
import transformers


class Texts(torch.utils.data.Dataset):
    def __init__(self, path, text, label, names, tokenizer, max_length):
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        self.labels = [row[label] for row in rows]
        self.names = names or sorted(set(self.labels))
        self.items = tokenizer(
            [row[text] for row in rows], truncation=True, max_length=max_length
        )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        item = {key: values[i] for key, values in self.items.items()}
        item["labels"] = self.names.index(self.labels[i])
        return item


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--text", default="sentence")
    parser.add_argument("--label", default="label")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="autocast to bf16")
    parser.add_argument("--out", default="/tmp/peer-finetune")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    train = Texts(args.train, args.text, args.label, None, tokenizer, args.max_length)
    valid = Texts(args.valid, args.text, args.label, train.names, tokenizer, args.max_length)
    for seed in map(int, args.seeds.split(",")):
        transformers.set_seed(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            args.model, num_labels=len(train.names)
        )
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=args.out,
                num_train_epochs=args.epochs,
                learning_rate=args.lr,
                per_device_train_batch_size=args.batch_size,
                per_device_eval_batch_size=32,
                warmup_steps=0.1,
                weight_decay=0.01,
                seed=seed,
                use_cpu=True,
                bf16=args.bf16,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=train,
            eval_dataset=valid,
            processing_class=tokenizer,
            compute_metrics=lambda p: {
                "accuracy": float((np.argmax(p.predictions, 1) == p.label_ids).mean())
            },
        )
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
        print(
            json.dumps(
                {
                    "seed": seed,
                    "accuracy": trainer.evaluate()["eval_accuracy"],
                    "seconds": round(seconds, 2),
                    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                    "threads": torch.get_num_threads(),
                    "torch": torch.__version__,
                    "transformers": transformers.__version__,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
