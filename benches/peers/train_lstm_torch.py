"""A training step of an LSTM language model in PyTorch, for comparison with `loam bench train --config lstm`.

The same shapes, random tokens, AdamW with clipping, and the same count of operations as Loam's. One JSON line.

    python -m venv peers && peers/bin/pip install torch==2.15.0 numpy
    peers/bin/python benches/peers/train_lstm_torch.py --mode eager --dtype f32
"""

import torch
from step import measure
from torch import nn
from torch.nn import functional

# width, layers, context, vocabulary, batch: as SHAPES in crates/train/src/bench/shapes.rs
SHAPES = {"lstm": (512, 2, 64, 8192, 32)}


class Model(nn.Module):
    def __init__(self, width, layers, vocabulary):
        super().__init__()
        self.encoder = nn.Embedding(vocabulary, width)
        self.rnn = nn.LSTM(width, width, layers, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.encoder.weight, std=0.1)

    def forward(self, inputs, targets):
        x, _ = self.rnn(self.encoder(inputs))
        # The output is tied to the embeddings.
        logits = functional.linear(x.flatten(0, 1), self.encoder.weight, self.bias)
        return functional.cross_entropy(logits.float(), targets.flatten())


def build(width, layers, context, vocabulary, batch):
    inputs, targets = torch.randint(0, vocabulary, (2, batch, context))
    tokens = batch * context
    operations = 6 * tokens * (layers * 8 * width * width + vocabulary * width)
    return Model(width, layers, vocabulary), (inputs, targets), tokens, operations


if __name__ == "__main__":
    measure(SHAPES, build)
