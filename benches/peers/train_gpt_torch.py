"""A training step of GPT-2's shape in PyTorch, for comparison with `loam bench train`.

The same shapes, random tokens, AdamW with clipping, and the same count of operations as Loam's. One JSON line.

    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/train_gpt_torch.py --config gpt-14m --mode compile --dtype f32
"""

import torch
from step import measure
from torch import nn
from torch.nn import functional

# width, layers, heads, context, vocabulary, batch: as SHAPES in crates/train/src/bench/shapes.rs
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


def build(width, layers, heads, context, vocabulary, batch):
    inputs, targets = torch.randint(0, vocabulary, (2, batch, context))
    weights = 12 * layers * width * width + vocabulary * width
    operations = batch * context * (6 * weights + 6 * layers * context * width)
    return Model(width, layers, heads, context, vocabulary), (inputs, targets), batch * context, operations


if __name__ == "__main__":
    measure(SHAPES, build)
