"""Compares the labels that Loam reads off a model of fastText with the original's, and how long both take.

    python -m venv peers && peers/bin/pip install fasttext-wheel==0.9.2 numpy==1.26.4
    cargo build --release -p loam-corpus --example fasttext_labels
    peers/bin/python benches/peers/fasttext_labels.py target/release/examples/fasttext_labels LINES MODEL...

LINES is a file of texts, one a line. Of every line, the probability of the best label and of the model's first label are
compared. Rounds of both take turns, and the best of each counts, in seconds of one core: Loam's with reading the model and
the lines and writing labels, the original's without. It exits with 1 where probabilities differ by more than the tolerance,
or where the best labels differ and are not as likely as each other.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import fasttext

fasttext.FastText.eprint = lambda *_: None
TOLERANCE = 1e-5
ROUNDS = 3
program, lines_path, *models = sys.argv[1:]
lines = Path(lines_path).read_text(encoding="utf8").removesuffix("\n").split("\n")


def own(*arguments):
    """Label and probability of each line, and the seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = [line.split(" ") for line in done.stdout.removesuffix("\n").split("\n")]
    return [(label, float(p[0]) if p else 0.0) for label, *p in found], seconds


bad = False
for path in models:
    model = fasttext.load_model(path)
    first = model.labels[0].removeprefix("__label__")
    mine, theirs, line_by_line = [], [], []
    for _ in range(ROUNDS):
        best, seconds = own(path, lines_path)
        mine.append(seconds)
        begun = time.process_time()
        labels, probabilities = model.predict(lines)
        theirs.append(time.process_time() - begun)
        begun = time.process_time()
        for line in lines:
            model.predict(line)
        line_by_line.append(time.process_time() - begun)
    of_first, _ = own(path, lines_path, first)
    furthest, other = 0.0, 0
    for number, line in enumerate(lines):
        label, probability = labels[number][0].removeprefix("__label__"), min(float(probabilities[number][0]), 1.0)
        furthest = max(furthest, abs(best[number][1] - probability))
        every = dict(zip(*model.predict(line, k=-1, threshold=-1.0)))
        furthest = max(furthest, abs(of_first[number][1] - min(every[f"__label__{first}"], 1.0)))
        # Another label than the original's is wrong unless it is as likely there.
        other += best[number][0] != label and every[f"__label__{best[number][0]}"] < every[f"__label__{label}"]
    wrong = furthest > TOLERANCE or other > 0 or len(best) != len(lines)
    bad |= wrong
    rate = [f"{len(lines) / min(seconds):,.0f}" for seconds in (mine, theirs, line_by_line)]
    print(
        f"{Path(path).name}: {'DIFFERS' if wrong else 'the same'}, {len(lines)} lines, {len(model.labels)} labels, "
        f"furthest {furthest:.1e}, other labels {other}; lines/s: Loam {rate[0]}, the original {rate[1]} in one call "
        f"and {rate[2]} line by line",
        flush=True,
    )
sys.exit(bad)
