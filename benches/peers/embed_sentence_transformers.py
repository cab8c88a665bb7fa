"""Opens a model that `loam finetune embed` wrote in sentence-transformers and compares its vectors with those of `loam embed`.

    python benches/peers/embed_sentence_transformers.py LOAM MODEL

Prints a JSON object. Packages: sentence-transformers 6.2, torch 2.15, transformers 5.24.
"""

import json
import subprocess
import sys

import torch
from sentence_transformers import SentenceTransformer

TEXTS = [
    "Who built the tower?",
    "The tower was built by the river, long before the bridge.",
    "北京是哪个国家的首都？",
    "🎬 שלום עולם",
    "a long text " * 2000,
]


def main():
    loam, folder = sys.argv[1:]
    model = SentenceTransformer(folder, device="cpu")
    theirs = torch.tensor(model.encode(TEXTS))
    asked = [part for text in TEXTS for part in ("--text", text)]
    said = subprocess.run([loam, "embed", "--model", folder, "--json", *asked], check=True, capture_output=True, text=True)
    ours = torch.tensor([json.loads(line)["embedding"] for line in said.stdout.splitlines()])
    told = {
        "modules": [type(module).__name__ for module in model],
        "max_seq_length": model.max_seq_length,
        "similarity": model.similarity_fn_name,
        "largest_difference": (theirs - ours).abs().max().item(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
