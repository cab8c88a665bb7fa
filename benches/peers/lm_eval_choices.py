"""What lm-evaluation-harness says of a model on BLiMP, LAMBADA and PIQA, for comparison with `loam eval lm`.

    python -m venv peers && peers/bin/pip install torch==2.15.0 transformers==5.24.0 lm-eval==0.4.13
    python benches/peers/lm_eval_choices.py sample BENCHMARKS SAMPLE [--blimp 20] [--others 300]
    peers/bin/python benches/peers/lm_eval_choices.py ask MODEL SAMPLE
    loam eval lm --model MODEL --data SAMPLE/blimp.jsonl
    loam eval lm --model MODEL --data SAMPLE/lambada.jsonl --last-words
    loam eval lm --model MODEL --data SAMPLE/piqa.jsonl

`sample` takes the first pairs of every paradigm of BLiMP.zip, and lines spread over the files of LAMBADA and PIQA, into files of which
`loam eval lm` reads the same. `ask` scores them with the harness's own model class; prompts are those of its tasks blimp,
lambada_openai and piqa (version 1.0 each), written out here because its data would be downloaded. Prints a JSON object a file.
"""

import argparse
import json
import math
import os
import zipfile


def sample(given):
    os.makedirs(given.sample, exist_ok=True)

    def write(name, rows):
        with open(os.path.join(given.sample, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    pairs = []
    with zipfile.ZipFile(os.path.join(given.benchmarks, "BLiMP.zip")) as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith("data/") and name.endswith(".jsonl")):
            lines = archive.read(name).decode().splitlines()[: given.blimp]
            rows = map(json.loads, lines)
            pairs += [{key: row[key] for key in ("sentence_good", "sentence_bad", "UID")} for row in rows]
    write("blimp.jsonl", pairs)

    def lines(name):
        with open(os.path.join(given.benchmarks, name), encoding="utf-8") as file:
            return [line for line in file.read().split("\n") if line]

    def spread(items):
        return [items[number * len(items) // given.others] for number in range(given.others)]

    write("lambada.jsonl", [{"text": json.loads(line)["text"]} for line in spread(lines("lambada_test.jsonl"))])
    labels = lines("piqa.valid-labels.lst")
    rows = [{**json.loads(line), "label": int(label)} for line, label in zip(lines("piqa.valid.jsonl"), labels)]
    write("piqa.jsonl", spread(rows))


def ask(given):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=given.model, dtype="float32", device="cpu", batch_size=16)

    def rows(name):
        with open(os.path.join(given.sample, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def told(pairs):
        requests = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]
        return model.loglikelihood(requests, disable_tqdm=True)

    def choices(name, asked):
        pairs = [(prompt, " " + choice) for prompt, listed, _ in asked for choice in listed]
        found = iter(told(pairs))
        right = right_norm = 0
        for _, listed, answer in asked:
            scores = [next(found)[0] for _ in listed]
            by_length = [score / len(choice) for score, choice in zip(scores, listed)]
            right += max(range(len(listed)), key=scores.__getitem__) == answer
            right_norm += max(range(len(listed)), key=by_length.__getitem__) == answer
        count = len(asked)
        print(json.dumps({"data": name, "accuracy": right / count, "accuracy_norm": right_norm / count, "examples": count}))

    choices("blimp", [("", [row["sentence_good"], row["sentence_bad"]], 0) for row in rows("blimp.jsonl")])
    asked = rows("piqa.jsonl")
    choices("piqa", [(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], row["label"]) for row in asked])
    texts = [row["text"] for row in rows("lambada.jsonl")]
    found = told([(" ".join(text.split(" ")[:-1]), " " + text.split(" ")[-1]) for text in texts])
    accuracy = sum(greedy for _, greedy in found) / len(found)
    perplexity = math.exp(-sum(score for score, _ in found) / len(found))
    print(json.dumps({"data": "lambada", "accuracy": accuracy, "word_perplexity": perplexity, "examples": len(found)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sampling = commands.add_parser("sample")
    sampling.add_argument("benchmarks")
    sampling.add_argument("sample")
    sampling.add_argument("--blimp", type=int, default=20)
    sampling.add_argument("--others", type=int, default=300)
    asking = commands.add_parser("ask")
    asking.add_argument("model")
    asking.add_argument("sample")
    given = parser.parse_args()
    {"sample": sample, "ask": ask}[given.command](given)


if __name__ == "__main__":
    main()
