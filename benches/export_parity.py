"""Trains tiny models with `loam train`, exports them in every form, and compares with transformers and llama.cpp.

    python -m venv peers && peers/bin/pip install torch transformers llama-cpp-python
    peers/bin/python benches/export_parity.py target/release/loam

For gpt and llama: safetensors in f32, f16, bf16 and in shards open with AutoModelForCausalLM, their tokenizer makes the
same ids, and log-probabilities are those of `loam score` on the same files. GGUF in F32 and Q8_0 is read by llama.cpp,
where it is installed, and by Loam again. LSTM and GRU have no counterpart there: they make the round trip through export
and import. A T5 opens with AutoModelForSeq2SeqLM, where a beam search finds the same texts with the same scores. It exits with 1 where a difference is above the tolerance beside it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf

try:
    import llama_cpp
except ImportError:
    llama_cpp = None

loam = sys.argv[1]
hf.logging.set_verbosity_error()
TEXTS = ["Ann has 7 apples and Ben 3.", "数字 and  spaces\nand lines, Ünïcödé 🙂", "x", "Ben 99 gives Ann 4 of them, " * 4]
bad = False


def run(*arguments):
    done = subprocess.run([loam, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"loam {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def score(model, text):
    return json.loads(run("score", "--model", model, "--text", text))


def tell(family, form, difference, tolerance, **more):
    global bad
    wrong = not difference <= tolerance
    bad = bad or wrong
    line = {"family": family, "form": form, "largest_difference": difference, "tolerance": tolerance}
    print(json.dumps(line | more | ({"wrong": True} if wrong else {})), flush=True)


def differences(found, expected):
    pairs = [(a, b) for a, b in zip(found, expected) if a is not None and b is not None]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def in_transformers(folder):
    """The largest difference of log-probabilities to Loam's on the same files; infinite where ids differ."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    worst = 0.0
    for text in TEXTS:
        ours, ids = score(folder, text), tokenizer(text)["input_ids"]
        if ours["tokens"] != ids or tokenizer.decode(ids) != text:
            print(json.dumps({"text": text, "loam": ours["tokens"], "transformers": ids}))
            return float("inf")
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        there = [None] + [logits[at, token].item() for at, token in enumerate(ids[1:])]
        worst = max(worst, differences(ours["logprobs"], there))
    return worst


def beams(model, text):
    return json.loads(run("generate", "--model", model, "--beams", 4, "--n-best", 4, "--max-tokens", 12, text))["n_best"]


def texts_in_transformers(folder):
    """The largest difference of the scores of four texts to Loam's on the same files; infinite where texts differ."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    end, worst = model.config.eos_token_id, 0.0
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            out = model.generate(torch.tensor([[*ids, end]]), max_new_tokens=12, num_beams=4, num_return_sequences=4,
                                 do_sample=False, return_dict_in_generate=True, output_scores=True)
        rows = [row[1:] for row in out.sequences.tolist()]
        rows = [row[: row.index(end)] if end in row else row for row in rows]
        found = beams(folder, text)
        if [one["tokens"] for one in found] != rows:
            print(json.dumps({"text": text, "loam": [one["tokens"] for one in found], "transformers": rows}))
            return float("inf")
        worst = max([worst, *(abs(a["score"] - b) for a, b in zip(found, out.sequences_scores.tolist()))])
    return worst


def in_llama_cpp(file):
    model = llama_cpp.Llama(str(file), n_ctx=128, logits_all=True, verbose=False)
    worst = 0.0
    for text in TEXTS:
        ours, ids = score(file, text), model.tokenize(text.encode(), add_bos=False, special=True)
        if ours["tokens"] != ids:
            print(json.dumps({"text": text, "loam": ours["tokens"], "llama.cpp": ids}))
            return float("inf")
        model.reset()
        model.eval(ids)
        logits = torch.tensor(model.scores[: len(ids)]).log_softmax(-1)
        there = [None] + [logits[at, token].item() for at, token in enumerate(ids[1:])]
        worst = max(worst, differences(ours["logprobs"], there))
    return worst


with tempfile.TemporaryDirectory() as at:
    at = Path(at)
    lines = [json.dumps({"text": f"Ann has {i} apples and Ben {i // 2}. 数字 {i}"}) for i in range(500)]
    (at / "apples.jsonl").write_text("\n".join(lines))
    for family in ("gpt", "llama", "lstm", "gru"):
        recipe = at / f"{family}.toml"
        heads = "heads = 2\n" if family in ("gpt", "llama") else ""
        # A width of 64, so that rows are whole blocks of 32.
        recipe.write_text(
            f'data.train = ["apples.jsonl"]\n[tokenizer]\nvocab = 400\n[model]\nfamily = "{family}"\nwidth = 64\n'
            f"layers = 2\n{heads}context = 128\n[train]\nsteps = 30\nbatch_tokens = 256\nlr = 3e-3\n[ledger]\nenabled = false\n")
        trained = at / family
        run("train", recipe, "-o", trained)
        base = [score(trained, text)["logprobs"] for text in TEXTS]

        def against_base(model):
            return max(differences(score(model, text)["logprobs"], expected) for text, expected in zip(TEXTS, base))

        forms = {"f32": ([], 1e-6), "shards": (["--max-shard-size", "60kB"], 1e-6),
                 "f16": (["--dtype", "f16"], 0.05), "bf16": (["--dtype", "bf16"], 0.2)}
        for form, (flags, tolerance) in forms.items():
            folder = at / f"{family} {form}"
            run("export", trained, "-o", folder, *flags)
            tell(family, f"{form}, beside the trained model", against_base(folder), tolerance)
            if heads:
                tell(family, f"{form}, in transformers", in_transformers(folder), 1e-4)
            back = at / f"{family} {form} back"
            run("import", folder, "-o", back)
            tell(family, f"{form}, imported again", against_base(back), tolerance)
        if not heads:
            continue
        for kind, flags, tolerance in (("F32", [], 1e-5), ("Q8_0", ["--quantize", "q8_0"], 0.3)):
            file = at / f"{family}-{kind}.gguf"
            run("export", trained, "-o", file, *flags)
            tell(family, f"GGUF {kind}, read again", against_base(file), tolerance)
            if llama_cpp:
                # llama.cpp's products of Q8_0 round the other side too.
                tell(family, f"GGUF {kind}, in llama.cpp", in_llama_cpp(file), 1e-3 if kind == "F32" else 0.3)
    recipe = at / "t5.toml"
    recipe.write_text(
        'data.train = ["apples.jsonl"]\n[tokenizer]\nvocab = 500\n[model]\nfamily = "t5"\nwidth = 64\nlayers = 2\n'
        'heads = 2\ncontext = 64\n[objective]\nkind = "spans"\n[train]\nsteps = 30\nbatch_tokens = 256\nlr = 3e-3\n'
        "[ledger]\nenabled = false\n")
    trained = at / "t5"
    run("train", recipe, "-o", trained)
    base = [beams(trained, text) for text in TEXTS]
    for form, (flags, tolerance) in {"f32": ([], 1e-6), "shards": (["--max-shard-size", "60kB"], 1e-6)}.items():
        folder, back = at / f"t5 {form}", at / f"t5 {form} back"
        run("export", trained, "-o", folder, *flags)
        tell("t5", f"{form}, in transformers", texts_in_transformers(folder), 1e-4)
        run("import", folder, "-o", back)
        same = all(beams(back, text) == found for text, found in zip(TEXTS, base))
        tell("t5", f"{form}, imported again", 0.0 if same else float("inf"), tolerance)
if not llama_cpp:
    print(json.dumps({"llama.cpp": "not installed; its comparison was left out"}))
sys.exit(bad)
