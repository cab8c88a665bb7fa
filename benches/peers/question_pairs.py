"""Makes pairs of questions with scores out of a file of SQuAD's shape: 1 for two questions about one paragraph, 0.5 for two about one
article, 0 for others. Every question begins a pair of each kind that it can.

    python benches/peers/question_pairs.py FILE.json SEED OUT.jsonl
"""

import json
import random
import sys


def main():
    source, seed, out = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    questions = [
        (number, (number, place), asked["question"])
        for number, article in enumerate(articles)
        for place, paragraph in enumerate(article["paragraphs"])
        for asked in paragraph["qas"]
    ]
    draw = random.Random(int(seed))
    with open(out, "w", encoding="utf-8") as file:
        for article, paragraph, question in questions:
            kinds = [
                (1.0, [other for other in questions if other[1] == paragraph and other[2] != question]),
                (0.5, [other for other in questions if other[0] == article and other[1] != paragraph]),
                (0.0, [other for other in questions if other[0] != article]),
            ]
            for score, others in kinds:
                if others:
                    pair = {"sentence1": question, "sentence2": draw.choice(others)[2], "score": score}
                    file.write(json.dumps(pair, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
