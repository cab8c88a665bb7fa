"""Fine-tunes an encoder to classify with transformers' Trainer, with the settings that `loam finetune classify` has, and
measures it on a test set.

    python benches/peers/finetune_transformers.py MODEL TRAIN.tsv VALID.tsv TEST.tsv [--epochs 3] [--batch 32] [--lr 5e-5]
        [--seed 1] [--threads 2] [--group]

Rows are a text and a label with a tab between them. Prints a JSON object: accuracy on the test set of the weights that were
best on the validation set, seconds of training (evaluation and checkpoints among them), and seconds of training alone.
Packages: torch 2.15, transformers 5.24, accelerate.
"""

import argparse
import json
import tempfile
import time

import numpy
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


def rows(path):
    with open(path, encoding="utf-8") as file:
        pairs = [line.rstrip("\n").rsplit("\t", 1) for line in file if line.strip()]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class Examples(torch.utils.data.Dataset):
    def __init__(self, tokenizer, texts, labels):
        self.encoded = tokenizer(texts, truncation=True)
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        item = {key: values[index] for key, values in self.encoded.items()}
        item["labels"] = self.labels[index]
        return item


class Clock(TrainerCallback):
    """Sums the time from the beginning of each step to its end."""

    def __init__(self):
        self.seconds = 0.0

    def on_step_begin(self, *_, **__):
        self.begun = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds += time.perf_counter() - self.begun


def settings(arguments, folder, metric):
    """Those of `loam finetune`; without a metric, the last weights are kept."""
    each = "epoch" if metric else "no"
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch,
        per_device_eval_batch_size=32,
        learning_rate=arguments.lr,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        weight_decay=0.01,
        max_grad_norm=1.0,
        seed=arguments.seed,
        eval_strategy=each,
        save_strategy=each,
        save_total_limit=1,
        load_best_model_at_end=bool(metric),
        metric_for_best_model=metric,
        train_sampling_strategy="group_by_length" if arguments.group else "random",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("test")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--group", action="store_true", help="batches of like length")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    sets = [rows(path) for path in (arguments.train, arguments.valid, arguments.test)]
    names = sorted(set(sets[0][1]))
    number = {name: index for index, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    torch.manual_seed(arguments.seed)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=len(names))
    train, valid, test = (Examples(tokenizer, texts, [number[label] for label in labels]) for texts, labels in sets)

    def measure(predictions):
        right = numpy.argmax(predictions.predictions, axis=-1) == predictions.label_ids
        return {"accuracy": float(right.mean())}

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        training = settings(arguments, folder, "accuracy")
        trainer = Trainer(
            model=model,
            args=training,
            train_dataset=train,
            eval_dataset=valid,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=measure,
            callbacks=[clock],
        )
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
        result = trainer.evaluate(test)
    best = trainer.state.best_metric
    told = {
        "accuracy": result["eval_accuracy"],
        "valid_accuracy": best,
        "seconds": seconds,
        "step_seconds": clock.seconds,
        "steps": trainer.state.global_step,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
