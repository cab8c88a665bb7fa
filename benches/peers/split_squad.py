"""Splits a file of SQuAD's shape by paragraph, drawn with a seed, so that no paragraph stands on both sides.

    python benches/peers/split_squad.py FILE.json TEST_PARAGRAPHS SEED TRAIN.json TEST.json

The same numbers of paragraphs are drawn from files with as many paragraphs, as the languages of XQuAD have.
"""

import json
import random
import sys


def write(path, articles, chosen):
    number = 0
    kept = []
    for article in articles:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            if number in chosen:
                paragraphs.append(paragraph)
            number += 1
        if paragraphs:
            kept.append({**article, "paragraphs": paragraphs})
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": "1.1", "data": kept}, file, ensure_ascii=False)


def main():
    source, test, seed, train_path, test_path = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    count = sum(len(article["paragraphs"]) for article in articles)
    held_out = set(random.Random(int(seed)).sample(range(count), int(test)))
    write(train_path, articles, set(range(count)) - held_out)
    write(test_path, articles, held_out)


if __name__ == "__main__":
    main()
