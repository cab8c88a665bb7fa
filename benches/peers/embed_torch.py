"""Trains an encoder contrastively with torch on the batches that `loam finetune embed` takes, and compares every step's loss and the
vectors after the last.

    python benches/peers/embed_torch.py LOAM MODEL PAIRS.jsonl [--batch 16] [--epochs 1] [--lr 5e-5] [--seed 1] [--context 64]
        [--micro-batch-tokens 100000] [--threads 2]

MODEL is a folder of sentence-transformers with mean pooling; rows have anchor and positive. Dropout is off on both sides, so that only
arithmetic differs. The order of examples is Loam's (SplitMix64's finalizer, Fisher and Yates, batches of even size), the loss is the
cross-entropy of 20 times the cosines with every document of the batch, where documents that belong to an anchor, too, are left out. Prints
a JSON object. Packages: torch 2.15, transformers 5.24.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import tempfile

import torch
from transformers import AutoModel, AutoTokenizer

MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def epoch(examples, batch, seed, number):
    """The batches of an epoch, as `loam_train::finetune` has them for a loss that joins examples."""
    state = mix(mix(seed ^ 0x65706F63) ^ number)
    order = list(range(examples))
    for last in range(examples - 1, 0, -1):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        other = (mix(state) * (last + 1)) >> 64
        order[last], order[other] = order[other], order[last]
    steps = math.ceil(examples / batch)
    return [order[examples * step // steps : examples * (step + 1) // steps] for step in range(steps)]


def vectors(model, tokenizer, texts, context):
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=context, return_tensors="pt")
    hidden = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1)


def loss_of(model, tokenizer, pairs, batch, belongs, context, scale=20.0):
    anchors = [pairs[example][0] for example in batch]
    documents = list(dict.fromkeys(pairs[example][1] for example in batch))
    targets = torch.tensor([documents.index(pairs[example][1]) for example in batch])
    scores = scale * vectors(model, tokenizer, anchors, context) @ vectors(model, tokenizer, documents, context).T
    left_out = [
        [column != target and (document in belongs[anchor] or document == anchor) for column, document in enumerate(documents)]
        for anchor, target in zip(anchors, targets.tolist())
    ]
    scores = scores.masked_fill(torch.tensor(left_out), -1e9)
    return torch.nn.functional.cross_entropy(scores, targets)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("loam")
    parser.add_argument("model")
    parser.add_argument("pairs")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--micro-batch-tokens", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with open(arguments.pairs, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    pairs = [(row["anchor"], row["positive"]) for row in rows]
    belongs = {}
    for anchor, positive in pairs:
        belongs.setdefault(anchor, set()).add(positive)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        start = folder / "start"
        shutil.copytree(arguments.model, start)
        config = json.loads((start / "config.json").read_text())
        config["hidden_dropout_prob"] = config["attention_probs_dropout_prob"] = 0.0
        (start / "config.json").write_text(json.dumps(config))
        run = folder / "run"
        command = [arguments.loam, "finetune", "embed", "--model", start, "--train", arguments.pairs, "-o", run, "--quiet"]
        command += ["--batch", arguments.batch, "--epochs", arguments.epochs, "--lr", arguments.lr, "--seed", arguments.seed]
        command += ["--context", arguments.context, "--set", "data.held_out=0"]
        command += ["--set", f"train.micro_batch_tokens={arguments.micro_batch_tokens}"]
        subprocess.run([str(part) for part in command], check=True)
        asked = "select value from metrics where metric = 'train_loss' order by step"
        said = subprocess.run([arguments.loam, "query", asked, run, "--json"], check=True, capture_output=True, text=True)
        theirs = [json.loads(line)["value"] for line in said.stdout.splitlines()]

        tokenizer = AutoTokenizer.from_pretrained(start)
        model = AutoModel.from_pretrained(start, add_pooling_layer=False)
        model.eval()
        decayed = [weight for weight in model.parameters() if weight.dim() > 1]
        others = [weight for weight in model.parameters() if weight.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=arguments.lr, betas=(0.9, 0.999), eps=1e-8)
        batches = [batch for number in range(arguments.epochs) for batch in epoch(len(pairs), arguments.batch, arguments.seed, number)]
        warmup = round(0.1 * len(batches))
        ours = []
        for step, batch in enumerate(batches):
            factor = (step + 1) / warmup if step < warmup else 1 - (step - warmup) / (len(batches) - warmup)
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * factor
            optimizer.zero_grad()
            loss = loss_of(model, tokenizer, pairs, batch, belongs, arguments.context)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            ours.append(loss.item())

        # What Loam has written, as transformers opens it, and both sides' vectors of the same texts.
        trained = AutoModel.from_pretrained(run / "model", add_pooling_layer=False)
        trained.eval()
        texts = [text for pair in pairs[:16] for text in pair]
        with torch.no_grad():
            first = vectors(AutoModel.from_pretrained(start, add_pooling_layer=False).eval(), tokenizer, texts, arguments.context)
            expected = vectors(model, tokenizer, texts, arguments.context)
            opened = vectors(trained, AutoTokenizer.from_pretrained(run / "model"), texts, arguments.context)
        asked = folder / "texts.jsonl"
        asked.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        embedded = [arguments.loam, "embed", "--model", run, "--file", asked, "--json", "--quiet"]
        said = subprocess.run([str(part) for part in embedded], check=True, capture_output=True, text=True)
        used = torch.tensor([json.loads(line)["embedding"] for line in said.stdout.splitlines()])
    told = {
        "steps": len(batches),
        "losses_torch": [round(loss, 5) for loss in ours[:3] + ours[-3:]],
        "losses_loam": [round(loss, 5) for loss in theirs[:3] + theirs[-3:]],
        "largest_difference_of_losses": max(abs(one - other) for one, other in zip(ours, theirs, strict=True)),
        "largest_change_of_a_vector": (expected - first).abs().max().item(),
        "largest_difference_of_vectors": (expected - opened).abs().max().item(),
        "loam_embed_against_transformers": (used - opened).abs().max().item(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
