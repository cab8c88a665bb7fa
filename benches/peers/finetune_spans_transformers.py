"""Fine-tunes an encoder to tag words or to find answers with transformers' Trainer, with the settings that `loam finetune tag` and
`loam finetune answer` have, and writes what it says of a test set, for `loam eval` to judge both alike.

    python benches/peers/finetune_spans_transformers.py tag MODEL TRAIN.conll VALID.conll TEST.conll [--epochs 5] [--batch 32]
        [--lr 1e-4] [--seed 1] [--threads 2]
    python benches/peers/finetune_spans_transformers.py answer MODEL TRAIN.jsonl VALID.jsonl TEST.jsonl ...

Columns are a word and its tag with white space between them. Rows of questions have question, context, and answers (a list of text
and answer_start), as `loam data split` writes them of SQuAD's files. Prints a JSON object: of tags, strict F1 of entities as seqeval
counts them; of answers, exact match and F1 as SQuAD's script counts them; and the seconds of the steps.
Packages: torch 2.15, transformers 5.24, accelerate, seqeval 1.2.2.
"""

import argparse
import collections
import json
import re
import string
import tempfile

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
)

from finetune_transformers import Clock, settings

LONGEST, STRIDE, LONGEST_ANSWER = 384, 128, 30


class Items(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def sentences(path):
    found, words, tags = [], [], []
    with open(path, encoding="utf-8") as file:
        for line in list(file) + ["\n"]:
            columns = line.split()
            if columns:
                words.append(columns[0])
                tags.append(columns[-1])
            elif words:
                found.append((words, tags))
                words, tags = [], []
    return found


def tagged(tokenizer, examples, number):
    items = []
    for words, tags in examples:
        encoded = tokenizer(words, is_split_into_words=True, truncation=True)
        labels, last = [], None
        for word in encoded.word_ids():
            labels.append(-100 if word is None or word == last else number[tags[word]])
            last = word
        items.append({**{key: list(values) for key, values in encoded.items()}, "labels": labels})
    return items


def train(model, arguments, items, valid, collator, metric):
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        training = settings(arguments, folder, "f1" if metric else None)
        trainer = Trainer(
            model=model,
            args=training,
            train_dataset=Items(items),
            eval_dataset=Items(valid) if metric else None,
            data_collator=collator,
            compute_metrics=metric,
            callbacks=[clock],
        )
        trainer.train()
        return trainer, clock.seconds


def tag(arguments):
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    sets = [sentences(path) for path in (arguments.train, arguments.valid, arguments.test)]
    names = sorted({tag for one in sets for _, tags in one for tag in tags})
    number = {name: index for index, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    torch.manual_seed(arguments.seed)
    model = AutoModelForTokenClassification.from_pretrained(arguments.model, num_labels=len(names))
    items = [tagged(tokenizer, one, number) for one in sets]

    def told(predictions, labels):
        gold, said = [], []
        for row, own in zip(predictions.argmax(-1), labels):
            kept = own != -100
            gold.append([names[tag] for tag in own[kept]])
            said.append([names[tag] for tag in row[kept]])
        return {"f1": f1_score(gold, said, mode="strict", scheme=IOB2)}

    metric = lambda output: told(output.predictions, output.label_ids)
    trainer, seconds = train(model, arguments, items[0], items[1], DataCollatorForTokenClassification(tokenizer), metric)
    result = trainer.evaluate(Items(items[2]))
    return {"f1": result["eval_f1"], "valid_f1": trainer.state.best_metric, "step_seconds": seconds}


def questions(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def windows(tokenizer, rows, labeled):
    items, places = [], []
    for index, row in enumerate(rows):
        encoded = tokenizer(
            row["question"].strip(),
            row["context"],
            truncation="only_second",
            max_length=LONGEST,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, offsets in enumerate(encoded["offset_mapping"]):
            sequence = encoded.sequence_ids(window)
            item = {key: encoded[key][window] for key in ("input_ids", "attention_mask") if key in encoded}
            if "token_type_ids" in encoded:
                item["token_type_ids"] = encoded["token_type_ids"][window]
            inside = [place for place, part in enumerate(sequence) if part == 1]
            if labeled:
                answer = row["answers"][0]
                begin, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
                start = [place for place in inside if offsets[place][0] <= begin < offsets[place][1]]
                stop = [place for place in inside if offsets[place][0] < end <= offsets[place][1]]
                whole = start and stop
                item["start_positions"] = start[0] if whole else 0
                item["end_positions"] = stop[0] if whole else 0
            items.append(item)
            places.append((index, [offsets[place] if place in set(inside) else None for place in range(len(offsets))]))
    return items, places


def normal(text):
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def scores(said, golds):
    def f1(gold):
        ours, theirs = normal(said), normal(gold)
        common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
        if not ours or not theirs:
            return float(ours == theirs)
        return 2 * common / (len(ours) + len(theirs))

    return max(float(normal(said) == normal(gold)) for gold in golds), max(f1(gold) for gold in golds)


def spans(trainer, rows, items, places):
    output = trainer.predict(Items(items)).predictions
    best = [(float("-inf"), "")] * len(rows)
    for (index, offsets), starts, stops in zip(places, *output):
        first = [place for place in starts.argsort()[-20:] if place < len(offsets) and offsets[place]]
        last = [place for place in stops.argsort()[-20:] if place < len(offsets) and offsets[place]]
        for begin in first:
            for end in last:
                score = float(starts[begin] + stops[end])
                if begin <= end < begin + LONGEST_ANSWER and score > best[index][0]:
                    best[index] = (score, rows[index]["context"][offsets[begin][0] : offsets[end][1]])
    return [text for _, text in best]


def answer(arguments):
    sets = [questions(path) for path in (arguments.train, arguments.valid, arguments.test)]
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    torch.manual_seed(arguments.seed)
    model = AutoModelForQuestionAnswering.from_pretrained(arguments.model)
    items, _ = windows(tokenizer, sets[0], True)
    trainer, seconds = train(model, arguments, items, None, DataCollatorWithPadding(tokenizer), None)
    told = {"step_seconds": seconds}
    for name, rows in (("valid", sets[1]), ("test", sets[2])):
        found = spans(trainer, rows, *windows(tokenizer, rows, False))
        each = [scores(said, [gold["text"] for gold in row["answers"]]) for said, row in zip(found, rows)]
        told[f"{name}_exact_match"], told[f"{name}_f1"] = (100 * sum(column) / len(each) for column in zip(*each))
    return told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["tag", "answer"])
    for name in ("model", "train", "valid", "test"):
        parser.add_argument(name)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--group", action="store_true", help="batches of like length")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps({"tag": tag, "answer": answer}[arguments.task](arguments)))


if __name__ == "__main__":
    main()
