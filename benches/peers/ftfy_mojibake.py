"""What ftfy makes of damaged and of right text, and where Loam's step `mojibake` says otherwise.

    pip install ftfy==6.3.1
    python benches/peers/ftfy_mojibake.py --cases PATH... > cases.jsonl
    cargo run --release -p loam-corpus --example clean_step -- cases.jsonl mojibake > ours.jsonl
    python benches/peers/ftfy_mojibake.py cases.jsonl --ours ours.jsonl             a table, by encoding
    python benches/peers/ftfy_mojibake.py cases.jsonl --ours ours.jsonl --list      and every difference
    python benches/peers/ftfy_mojibake.py cases.jsonl --speed

A case is a line of a text file (plain, gzip or bzip2) with something beyond ASCII in it, as it is and as it looks when its
UTF-8 is read in another encoding. ftfy is its `fix_encoding`, line by line.
"""

import argparse
import bz2
import gzip
import json
import sys
import time

from ftfy import fix_encoding

OPENERS = {"gz": gzip.open, "bz2": bz2.open}


def latin_1(text):
    return text.encode().decode("latin-1")


def windows_1252(text):
    """As browsers do: what Windows-1252 lacks is a control character."""
    return text.encode().decode("sloppy-windows-1252")


def lossy_1252(text):
    return text.encode().decode("windows-1252", errors="replace")


def gbk(text):
    return text.encode().decode("gbk", errors="replace")


def spaces(text):
    return windows_1252(text).replace("\xa0", " ")


DAMAGES = {
    "none": lambda text: text,
    "Latin-1": latin_1,
    "Latin-1 twice": lambda text: latin_1(latin_1(text)),
    "Windows-1252": windows_1252,
    "Windows-1252 twice": lambda text: windows_1252(windows_1252(text)),
    "both": lambda text: windows_1252(latin_1(text)),
    "with U+FFFD": lossy_1252,
    "with spaces": spaces,
    "GBK": gbk,
    "Windows-1251": lambda text: text.encode().decode("sloppy-windows-1251"),
    "Mac OS Roman": lambda text: text.encode().decode("mac-roman"),
}


def lines_of(path):
    with OPENERS.get(path.rsplit(".", 1)[-1], open)(path, "rt", encoding="utf-8", errors="ignore") as file:
        for line in file:
            line = line.strip("\r\n")
            # Text of which a byte is lost before it is damaged is no test of mending.
            if not line.isascii() and "\ufffd" not in line:
                yield line[:2000]


def cases(paths, most):
    for path in paths:
        lines = list(lines_of(path))
        every = max(1, len(lines) // most)
        for number, line in enumerate(lines):
            for name, damage in DAMAGES.items():
                # Right text costs nothing to try; all of it is.
                if name == "none" or number % every == 0:
                    print(json.dumps({"text": damage(line), "was": line, "damage": name}, ensure_ascii=False))


def compare(all_cases, ours, show):
    table = {name: [0, 0, 0, 0] for name in DAMAGES}
    for case, mine in zip(all_cases, ours, strict=True):
        theirs = fix_encoding(case["text"])
        row = table[case["damage"]]
        right = case["was"]
        for at, hit in enumerate([True, mine == right, theirs == right, mine == theirs]):
            row[at] += hit
        if show and mine != theirs:
            mark = "both wrong" if right not in (mine, theirs) else "ours right" if mine == right else "ftfy right"
            print(f"{case['damage']}, {mark}\n  was  {right[:160]!r}\n  text {case['text'][:160]!r}")
            print(f"  ours {mine[:160]!r}\n  ftfy {theirs[:160]!r}")
    print(f"{'damage':20} {'lines':>8} {'Loam right':>12} {'ftfy right':>12} {'both the same':>14}")
    for name, (count, *hits) in table.items():
        shares = [f"{100 * hit / max(1, count):.2f} %" for hit in hits]
        print(f"{name:20} {count:8} {shares[0]:>12} {shares[1]:>12} {shares[2]:>14}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--cases", nargs="+", metavar="PATH")
    parser.add_argument("--most", type=int, default=400, help="damaged lines of a file, for each encoding")
    parser.add_argument("--ours", help="what the example clean_step printed for the same file")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.cases:
        return cases(options.cases, options.most)
    with open(options.file, encoding="utf-8", newline="\n") as lines:
        all_cases = [json.loads(line) for line in lines]
    if options.speed:
        size = sum(len(case["text"].encode()) for case in all_cases) / 1e6
        start = time.process_time()
        for case in all_cases:
            fix_encoding(case["text"])
        return print(f"{size / (time.process_time() - start):.3f} MB/s")
    with open(options.ours, encoding="utf-8", newline="\n") as lines:
        return compare(all_cases, [json.loads(line) for line in lines], options.list)


if __name__ == "__main__":
    sys.exit(main())
