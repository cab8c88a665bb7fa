"""Opens a model that Loam trained in Hugging Face transformers and compares.

    python -m venv peers && peers/bin/pip install torch transformers
    peers/bin/python benches/transformers_parity.py target/release/loam runs/demo/model

Prints the largest difference of log-probabilities, whether the tokenizers give the same ids, and whether greedy
continuations of 40 tokens are the same. It measures; nothing is asserted.
"""

import json
import subprocess
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

loam, folder = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()


def ask(*arguments):
    output = subprocess.run([loam, *arguments, "--model", folder, "--json"], capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


text = "pub fn len(&self) -> usize {\n    self.items.len()\n}\n// 中文 text ¿é?"
score = ask("score", "--text", text)
with torch.no_grad():
    logits = model(torch.tensor([score["tokens"]])).logits[0].double()
reference = torch.log_softmax(logits, -1)[range(len(score["tokens"]) - 1), score["tokens"][1:]].tolist()
prompt = tokenizer("pub fn ")["input_ids"]
greedy = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False, pad_token_id=0)[0].tolist()
print(json.dumps({
    "transformers": transformers.__version__,
    "torch": torch.__version__,
    "largest_difference": max(abs(a - b) for a, b in zip(reference, score["logprobs"][1:])),
    "same_tokens": tokenizer(text)["input_ids"] == score["tokens"],
    "same_greedy": greedy[len(prompt):] == ask("generate", "pub fn ", "-n", "40", "--temperature", "0")["tokens"],
}))
