"""A corpus of any size, to see how much memory a preparation takes.

    python benches/large_corpus.py FOLDER --gigabytes 10
    /usr/bin/time -v loam data prepare FOLDER --deduplicate exact,near --tokenizer bpe:8192 -o OUT

Writes gzipped JSON lines of about 250 MB of text each. A document is a few paragraphs of made-up words with the frequencies of
a language; of every four, one is a copy of an earlier one and one is an earlier one with a paragraph changed.
"""

import argparse
import gzip
import json
import os
import random


def paragraphs(draw, count):
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choice(letters[: 6 + draw.randrange(20)]) for _ in range(2 + draw.randrange(8))) for _ in range(40_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    for _ in range(count):
        drawn = draw.choices(words, weights, k=60 + draw.randrange(120))
        yield " ".join(drawn).capitalize() + "."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    pool = list(paragraphs(draw, 20_000))
    os.makedirs(given.folder, exist_ok=True)
    written, number, earlier = 0, 0, []
    while written < given.gigabytes * 1e9:
        path = os.path.join(given.folder, f"part-{number:04}.jsonl.gz")
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            size = 0
            while size < 250e6 and written + size < given.gigabytes * 1e9:
                kind = draw.randrange(4)
                if kind < 2 and earlier:
                    text = list(draw.choice(earlier))
                    if kind == 1:
                        text[draw.randrange(len(text))] = draw.choice(pool)
                else:
                    text = draw.choices(pool, k=3 + draw.randrange(6))
                    if len(earlier) < 100_000:
                        earlier.append(text)
                    else:
                        earlier[draw.randrange(len(earlier))] = text
                line = json.dumps({"text": "\n".join(text)})
                size += len(line)
                file.write(line + "\n")
        written += size
        number += 1
        print(f"{path}: {written / 1e9:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
