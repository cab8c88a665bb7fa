"""A training step of BERT on masked words in PyTorch, for comparison with `loam bench train --config bert-mini`.

The same shapes, random tokens, AdamW with clipping, and the same count of operations as Loam's. One JSON line.

    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/train_bert_torch.py --mode compile --dtype f32
"""

import torch
from step import measure
from torch import nn
from torch.nn import functional

# width, layers, heads, context, vocabulary, batch: as SHAPES in crates/train/src/bench/shapes.rs
SHAPES = {"bert-mini": (256, 4, 4, 128, 8192, 16)}


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.norm_output = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x):
        batch, length, width = x.shape
        query, key, value = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = self.norm_attention(x + self.merge(attended.transpose(1, 2).reshape(batch, length, width)))
        return self.norm_output(x + self.narrow(functional.gelu(self.widen(x))))


class Model(nn.Module):
    def __init__(self, width, layers, heads, context, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.transform = nn.Linear(width, width)
        self.norm_head = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def forward(self, inputs, places, targets):
        x = self.norm(self.tokens(inputs) + self.positions.weight[: inputs.shape[1]] + self.types.weight[0])
        for layer in self.layers:
            x = layer(x)
        # The head at the predicted places alone.
        x = x.flatten(0, 1)[places]
        x = self.norm_head(functional.gelu(self.transform(x)))
        return functional.cross_entropy(functional.linear(x, self.tokens.weight, self.bias).float(), targets)


def build(width, layers, heads, context, vocabulary, batch):
    tokens = batch * context
    predicted = tokens * 15 // 100
    inputs = torch.randint(0, vocabulary, (batch, context))
    places, targets = torch.randint(0, tokens, (predicted,)), torch.randint(0, vocabulary, (predicted,))
    body = tokens * layers * (12 * width * width + 2 * context * width)
    operations = 6 * (body + predicted * (width * width + vocabulary * width))
    return Model(width, layers, heads, context, vocabulary), (inputs, places, targets), tokens, operations


if __name__ == "__main__":
    measure(SHAPES, build)
