"""A training step of the Transformer of 2017 in PyTorch, for comparison with `loam bench train --config seq2seq`.

The same shapes, random tokens, AdamW with clipping, and the same count of operations as Loam's. One JSON line.

    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/train_seq2seq_torch.py --mode compile --dtype f32
"""

import torch
from step import measure
from torch import nn
from torch.nn import functional

# width, layers of each side, heads, context, vocabulary, batch: as SHAPES in crates/train/src/bench/shapes.rs
SHAPES = {"seq2seq": (256, 3, 4, 64, 8192, 32)}
SMOOTHING = 0.1


class Attention(nn.Module):
    def __init__(self, width, heads, cross):
        super().__init__()
        self.heads, self.cross = heads, cross
        # One product where one tensor is read.
        self.read = nn.Linear(width, 2 * width if cross else 3 * width)
        self.query = nn.Linear(width, width) if cross else None
        self.merge = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def split(self, x, parts):
        batch, length, width = x.shape
        return x.view(batch, length, parts, self.heads, width // parts // self.heads).permute(2, 0, 3, 1, 4)

    def forward(self, x, source=None, causal=False):
        if self.cross:
            (query,), (key, value) = self.split(self.query(x), 1), self.split(self.read(source), 2)
        else:
            query, key, value = self.split(self.read(x), 3)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.norm(x + self.merge(attended.transpose(1, 2).reshape(x.shape)))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.narrow(functional.relu(self.widen(x))))


class Model(nn.Module):
    def __init__(self, width, layers, heads, context, vocabulary):
        super().__init__()
        self.scale = width**0.5
        self.tokens = nn.Embedding(vocabulary, width)
        rates = 10_000.0 ** (-2 * torch.arange(width // 2) / width)
        angles = torch.arange(context)[:, None] * rates
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))
        self.encoder = nn.ModuleList(
            [nn.ModuleList([Attention(width, heads, False), FeedForward(width)]) for _ in range(layers)]
        )
        self.decoder = nn.ModuleList(
            [
                nn.ModuleList([Attention(width, heads, False), Attention(width, heads, True), FeedForward(width)])
                for _ in range(layers)
            ]
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def embed(self, ids):
        return self.tokens(ids) * self.scale + self.positions[: ids.shape[1]]

    def forward(self, source, inputs, targets):
        source, x = self.embed(source), self.embed(inputs)
        for attention, feed_forward in self.encoder:
            source = feed_forward(attention(source))
        for attention, cross, feed_forward in self.decoder:
            x = feed_forward(cross(attention(x, causal=True), source))
        logits = functional.linear(x, self.tokens.weight, self.bias).flatten(0, 1)
        return functional.cross_entropy(logits.float(), targets.flatten(), label_smoothing=SMOOTHING)


def build(width, layers, heads, context, vocabulary, batch):
    source, inputs, targets = torch.randint(0, vocabulary, (3, batch, context))
    sides = layers * (28 * width * width + 5 * context * width)
    operations = 6 * batch * context * (sides + vocabulary * width)
    model = Model(width, layers, heads, context, vocabulary)
    return model, (source, inputs, targets), 2 * batch * context, operations


if __name__ == "__main__":
    measure(SHAPES, build)
