"""What every training step in PyTorch has in common: the options, the optimizer, the timing and the JSON line."""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn


def measure(shapes, build):
    """Times steps of `build(*shape)`, which gives a model, its inputs, tokens a step, and operations a step.

    The model's forward returns the loss. AdamW with clipping, as in `loam bench train`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", choices=shapes, default=next(iter(shapes)))
    parser.add_argument("--mode", choices=["eager", "compile"], default="compile")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model, inputs, tokens, operations = build(*shapes[options.config])
    run = torch.compile(model) if options.mode == "compile" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step():
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = run(*inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    for _ in range(options.warmup):
        step()
    median = statistics.median(step() for _ in range(options.steps))
    print(
        json.dumps(
            {
                "engine": f"PyTorch {torch.__version__} {options.mode}",
                "shape": options.config,
                "dtype": options.dtype,
                "parameters": sum(weight.numel() for weight in model.parameters()),
                "tokens_per_s": tokens / median,
                "ms_per_step": median * 1e3,
                "gflops": operations / median / 1e9,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            }
        )
    )
