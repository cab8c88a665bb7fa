"""A training step of GPT-2's shape in PyTorch, for comparison with `loam bench train`.

The same shapes, random tokens, AdamW with clipping, and the same count of operations as Loam's. One JSON line.

    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/train_gpt_torch.py --config gpt-14m --mode compile --dtype f32
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

# width, layers, heads, context, vocabulary, batch: as SHAPES in crates/train/src/bench.rs
SHAPES = {
    "gpt-3m": (192, 5, 6, 256, 4096, 8),
    "gpt-14m": (384, 6, 6, 256, 8192, 8),
    "gpt-124m": (768, 12, 12, 512, 50304, 4),
}


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.merge(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(functional.gelu(self.widen(self.norm_mlp(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, width, layers, heads, context, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = functional.linear(self.norm(x), self.tokens.weight).flatten(0, 1)
        return functional.cross_entropy(logits.float(), targets.flatten())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", choices=SHAPES, default="gpt-14m")
    parser.add_argument("--mode", choices=["eager", "compile"], default="compile")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    width, layers, heads, context, vocabulary, batch = SHAPES[options.config]
    model = Model(width, layers, heads, context, vocabulary)
    run = torch.compile(model) if options.mode == "compile" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    inputs, targets = torch.randint(0, vocabulary, (2, batch, context))

    def step():
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = run(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    for _ in range(options.warmup):
        step()
    median = statistics.median(step() for _ in range(options.steps))
    weights = 12 * layers * width * width + vocabulary * width
    operations = batch * context * (6 * weights + 6 * layers * context * width)
    print(
        json.dumps(
            {
                "engine": f"PyTorch {torch.__version__} {options.mode}",
                "shape": options.config,
                "dtype": options.dtype,
                "tokens_per_s": batch * context / median,
                "ms_per_step": median * 1e3,
                "gflops": operations / median / 1e9,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
