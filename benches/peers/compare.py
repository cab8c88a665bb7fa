"""Loam and PyTorch on the same training steps, taking turns, so that a busy moment of the machine hits both.

    cargo build --release
    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/compare.py --loam target/release/loam --config gpt-14m --rounds 5

Prints a table for PERFORMANCE.md: medians over rounds, the spread, and the ratio to PyTorch's compiled mode.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# The script of a configuration, by how its name begins.
SCRIPTS = {
    "gpt": "train_gpt_torch.py",
    "bert": "train_bert_torch.py",
    "lstm": "train_lstm_torch.py",
    "seq2seq": "train_seq2seq_torch.py",
}


def last_json(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--loam", default="target/release/loam")
    parser.add_argument("--config", default="gpt-14m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--modes", default="compile,eager")
    options = parser.parse_args()
    common = ["--config", options.config, "--steps", options.steps, "--threads", options.threads, "--dtype", options.dtype]
    family = options.config.split("-")[0]
    if family not in SCRIPTS:
        sys.exit(f"--config {options.config}: there are scripts for {', '.join(SCRIPTS)}")
    engines = {"Loam": [options.loam, "bench", "train", "--json", *common]}
    for mode in options.modes.split(","):
        engines[mode] = [sys.executable, HERE / SCRIPTS[family], "--mode", mode, *common]
    results = {name: [] for name in engines}
    for number in range(options.rounds):
        for name, command in engines.items():
            result = last_json(command)
            results[name].append(result)
            print(f"round {number + 1}: {name} {result['tokens_per_s']:.0f} tokens/s", file=sys.stderr)
    base = next((name for name in ("compile", "eager") if name in results), "Loam")
    speed = {name: statistics.median(r["tokens_per_s"] for r in rounds) for name, rounds in results.items()}
    print(f"{options.config}, {options.dtype}, {options.threads} threads, {options.rounds} rounds, {processor()}\n")
    print("| engine | tokens/s, median | least – most | resident MB | ratio |")
    print("|-|-|-|-|-|")
    for name, rounds in results.items():
        rates = [r["tokens_per_s"] for r in rounds]
        memory = statistics.median(r["peak_rss_mb"] for r in rounds)
        title = rounds[0].get("engine", name)
        print(
            f"| {title} | {speed[name]:,.0f} | {min(rates):,.0f} – {max(rates):,.0f} | {memory:,.0f} "
            f"| {speed[name] / speed[base]:.2f} |"
        )


if __name__ == "__main__":
    main()
