"""How OpenCC writes Chinese text in the other script, and where Loam's steps `simplified` and `traditional` say otherwise.

    pip install OpenCC==1.4.2
    python benches/peers/opencc_scripts.py --lines PATH... > lines.jsonl              simplified text
    cargo run --release -p loam-corpus --example clean_step -- lines.jsonl traditional > ours.jsonl
    python benches/peers/opencc_scripts.py lines.jsonl --ours ours.jsonl --to traditional
    python benches/peers/opencc_scripts.py lines.jsonl --convert traditional > traditional.jsonl
    cargo run --release -p loam-corpus --example clean_step -- traditional.jsonl simplified > ours.jsonl
    python benches/peers/opencc_scripts.py traditional.jsonl --ours ours.jsonl --to simplified

`opencc-python-reimplemented`, whose dictionaries are older, has the same module name: install it in the place of OpenCC
to compare with it.
"""

import argparse
import json
import sys
import time
from collections import Counter

import opencc

CONFIGURATIONS = {"traditional": "s2t", "simplified": "t2s"}


def texts_of(path):
    with open(path, encoding="utf-8", newline="\n") as lines:
        return [json.loads(line)["text"] for line in lines]


def compare(texts, ours, convert):
    equal, characters, other = 0, 0, Counter()
    for text, mine in zip(texts, ours, strict=True):
        theirs = convert(text)
        equal += mine == theirs
        characters += len(theirs)
        if len(mine) != len(theirs):
            other[f"{theirs[:30]} | {mine[:30]}"] += 1
            continue
        for at, (one, another) in enumerate(zip(theirs, mine)):
            if one != another:
                other[f"{text[max(0, at - 1):at + 2]}: OpenCC {one}, Loam {another}"] += 1
    for difference, count in other.most_common(40):
        print(f"{count:5} {difference}")
    print(f"{len(texts)} lines, {100 * equal / max(1, len(texts)):.2f} % equal")
    print(f"{characters} characters, {100 * (1 - other.total() / max(1, characters)):.4f} % equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--lines", nargs="+", metavar="PATH", help="lines of text files with Chinese in them")
    parser.add_argument("--convert", choices=CONFIGURATIONS)
    parser.add_argument("--to", choices=CONFIGURATIONS)
    parser.add_argument("--ours", help="what the example clean_step printed for the same file")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.lines:
        for path in options.lines:
            with open(path, encoding="utf-8", errors="ignore") as file:
                for line in filter(lambda line: any("\u4e00" <= character <= "\u9fff" for character in line), file):
                    print(json.dumps({"text": line.strip()}, ensure_ascii=False))
        return None
    texts = texts_of(options.file)
    convert = opencc.OpenCC(CONFIGURATIONS[options.convert or options.to]).convert
    if options.speed:
        size = sum(len(text.encode()) for text in texts) / 1e6
        start = time.process_time()
        for text in texts:
            convert(text)
        return print(f"{size / (time.process_time() - start):.2f} MB/s")
    if options.convert:
        for text in texts:
            print(json.dumps({"text": convert(text)}, ensure_ascii=False))
        return None
    with open(options.ours, encoding="utf-8", newline="\n") as lines:
        return compare(texts, [json.loads(line) for line in lines], convert)


if __name__ == "__main__":
    sys.exit(main())
