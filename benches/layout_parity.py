"""Compares `loam score`, `loam embed` and `loam generate` with transformers on tiny random checkpoints of many configurations.

    python -m venv peers && peers/bin/pip install torch transformers peft
    peers/bin/python benches/layout_parity.py target/release/loam [NAME…]

Each line is one configuration: odd and shared heads, heads of other widths, tied and untied outputs, biases, every kind of
rotary scaling, sliding windows, soft caps, old keys of config.json. Log-probabilities of every token have to agree within
1e-4 (f32). What Loam does not support has to be refused with a message: a number that is silently wrong fails, and so does
a panic. It exits with 1 where something does. A random draw of further configurations follows (`LOAM_DRAWS`, 40).

Of T5 and mT5, the texts that a beam search finds are compared with their scores, once as transformers wrote the model, and once
as `loam export` writes it with PEFT's adapters merged, which transformers then reads.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

loam, wanted = sys.argv[1], sys.argv[2:]
VOCABULARY = 61
hf.logging.set_verbosity_error()


def tokenizer(folder):
    """One word a token, so that ids can be named in a text."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    words["w0"] = 0
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(Path(folder) / "tokenizer.json"))


def shake(model, seed):
    """Norms and biases begin at one and zero, which hides where they are used."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.3 * noise if parameter.dim() == 1 else 0.35 * noise)
    return model.eval()


def run(*arguments):
    done = subprocess.run([loam, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if "panicked" in done.stderr or done.returncode not in (0, 1, 2):
        sys.exit(f"loam {' '.join(map(str, arguments))}: {done.returncode} {done.stderr}")
    return done


def causal(kind, config, edit=None, tokens=40, seed=1, loaded_again=False):
    """The largest difference of log-probabilities, or the words of the refusal."""
    torch.manual_seed(seed)
    model = shake(kind(config), seed)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        tokenizer(folder)
        if edit:
            path = Path(folder) / "config.json"
            written = json.loads(path.read_text())
            edit(written)
            path.write_text(json.dumps(written))
            if loaded_again:
                model = kind.from_pretrained(folder).eval()
        ids = [int(x) for x in torch.randint(1, VOCABULARY, (tokens,), generator=torch.Generator().manual_seed(seed))]
        done = run("score", "--model", folder, "--text", " ".join(f"w{i}" for i in ids), "--json")
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].replace(folder, "…")
        found = json.loads(done.stdout)
        assert found["tokens"] == ids, (found["tokens"], ids)
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = logits[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        return (torch.tensor(found["logprobs"][1:]) - expected).abs().max().item()


def embedded(kind, config, seed=1):
    torch.manual_seed(seed)
    model = shake(kind(config), seed)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        tokenizer(folder)
        ids = [int(x) for x in torch.randint(3, VOCABULARY, (20,), generator=torch.Generator().manual_seed(seed))]
        done = run("embed", "--model", folder, "--text", " ".join(f"w{i}" for i in ids), "--pooling", "mean", "--json")
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].replace(folder, "…")
        expected = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        found = torch.tensor(json.loads(done.stdout)["embedding"])
        expected = expected / expected.norm() * found.norm()
        return (found - expected).abs().max().item()


def written(folder, model, sources):
    """The largest difference of the scores of four beams, in Loam and in `model`; infinite where texts differ."""
    worst = 0.0
    for number, source in enumerate(sources):
        done = run("generate", "--model", folder, "--beams", 4, "--n-best", 4, "--max-tokens", 12, "--json",
                   " ".join(f"w{i}" for i in source))
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].replace(str(folder), "…")
        found = json.loads(done.stdout)["n_best"]
        out = model.generate(torch.tensor([[*source, 1]]), max_new_tokens=12, num_beams=4, num_return_sequences=4,
                             do_sample=False, return_dict_in_generate=True, output_scores=True, use_cache=False)
        rows = [row[1:] for row in out.sequences.tolist()]
        rows = [row[: row.index(1)] if 1 in row else row for row in rows]
        if [one["tokens"] for one in found] != rows:
            print(json.dumps({"source": number, "loam": [one["tokens"] for one in found], "transformers": rows}))
            return float("inf")
        worst = max([worst, *(abs(a["score"] - b) for a, b in zip(found, out.sequences_scores.tolist()))])
    return worst


def source_to_target(kind, config, own_output, seed=1):
    """What `written` says of the model as transformers wrote it, and of it with adapters as Loam does."""
    import peft
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    draw = random.Random(seed)
    sources = [[draw.randrange(2, VOCABULARY) for _ in range(length)] for length in (3, 40, draw.randrange(1, 80))]
    with tempfile.TemporaryDirectory() as at, torch.no_grad():
        folder, adapters, merged = (str(Path(at) / name) for name in ("model", "adapters", "merged"))
        shake(kind(config), seed).save_pretrained(folder)
        if own_output:
            file = Path(folder) / "model.safetensors"
            tensors = load_file(file)
            tensors["lm_head.weight"] = 0.35 * torch.randn(tensors["shared.weight"].shape)
            save_file(tensors, file, {"format": "pt"})
        tokenizer(folder)
        model = kind.from_pretrained(folder).eval()
        theirs = written(folder, model, sources)
        if isinstance(theirs, str):
            return theirs
        lora = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q", "k", "v", "o", "wo"]))
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape))
        lora.save_pretrained(adapters)
        done = run("export", folder, "--adapter", adapters, "-o", merged)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
        again = kind.from_pretrained(merged).eval()
        ids, inputs = torch.tensor([sources[1]]), torch.tensor([[0, 5, 9, 2]])
        logits = [model(input_ids=ids, decoder_input_ids=inputs).logits for model in (lora.eval(), again)]
        ours = written(merged, again, sources)
        return ours if isinstance(ours, str) else max(theirs, ours, (logits[0] - logits[1]).abs().max().item() / 10)


def old_keys(**more):
    """config.json as transformers 4 wrote it."""
    def edit(config):
        parameters = config.pop("rope_parameters", None) or {}
        config["rope_theta"] = parameters.pop("rope_theta", 10000.0)
        kind = parameters.pop("rope_type", "default")
        config["rope_scaling"] = None if kind == "default" else {"type": kind, **parameters}
        config["torch_dtype"] = config.pop("dtype", "float32")
        config.update(more)
    return edit


def put(**fields):
    return lambda config: config.update(fields)


small = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
             num_key_value_heads=4, max_position_embeddings=64, pad_token_id=None, bos_token_id=None, eos_token_id=None)
gpt2 = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=24, n_layer=3, n_head=3, bos_token_id=None, eos_token_id=None)
L, M, Q2, Q3, S3, G2, G3 = (
    (hf.LlamaForCausalLM, hf.LlamaConfig), (hf.MistralForCausalLM, hf.MistralConfig),
    (hf.Qwen2ForCausalLM, hf.Qwen2Config), (hf.Qwen3ForCausalLM, hf.Qwen3Config),
    (hf.SmolLM3ForCausalLM, hf.SmolLM3Config), (hf.Gemma2ForCausalLM, hf.Gemma2Config),
    (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig))
G = (hf.GPT2LMHeadModel, hf.GPT2Config)


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


llama3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
yarn = dict(factor=4.0, original_max_position_embeddings=16)
cases = {
    "gpt2": (G, gpt2), "gpt2 inner": (G, gpt2 | dict(n_inner=40)), "gpt2 one head": (G, gpt2 | dict(n_head=1)),
    "gpt2 relu": (G, gpt2 | dict(activation_function="relu")), "gpt2 gelu": (G, gpt2 | dict(activation_function="gelu")),
    "gpt2 silu": (G, gpt2 | dict(activation_function="silu")),
    "gpt2 epsilon": (G, gpt2 | dict(layer_norm_epsilon=0.1)),
    "gpt2 by layer": (G, gpt2 | dict(scale_attn_by_inverse_layer_idx=True)),
    "gpt2 no scale": (G, gpt2 | dict(scale_attn_weights=False)),
    "gpt2 upcast": (G, gpt2 | dict(reorder_and_upcast_attn=True)),
    "gpt2 untied": (G, gpt2 | dict(tie_word_embeddings=False)),
    "gpt2 ctx key": (G, gpt2, put(n_ctx=16)),
    "llama": (L, small), "llama shared": (L, small | dict(num_key_value_heads=2)),
    "llama one key": (L, small | dict(num_key_value_heads=1)),
    "llama three heads": (L, small | dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=1)),
    "llama six of three": (L, small | dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=3)),
    "llama head width": (L, small | dict(head_dim=6, num_key_value_heads=2)),
    "llama wide head": (L, small | dict(head_dim=24, num_key_value_heads=2)),
    "llama odd width": (L, small | dict(hidden_size=36, head_dim=10)),
    "llama tied": (L, small | dict(tie_word_embeddings=True)),
    "llama attention bias": (L, small | dict(attention_bias=True)),
    "llama mlp bias": (L, small | dict(mlp_bias=True)),
    "llama all biases": (L, small | dict(attention_bias=True, mlp_bias=True, num_key_value_heads=2)),
    "llama gelu": (L, small | dict(hidden_act="gelu")), "llama relu": (L, small | dict(hidden_act="relu")),
    "llama tanh gelu": (L, small | dict(hidden_act="gelu_pytorch_tanh")),
    "llama quick gelu": (L, small | dict(hidden_act="quick_gelu")),
    "llama relu2": (L, small | dict(hidden_act="relu2")),
    "llama epsilon": (L, small | dict(rms_norm_eps=0.1)),
    "llama inner 50": (L, small | dict(intermediate_size=50)), "llama inner 1": (L, small | dict(intermediate_size=1)),
    "llama theta": (L, small | rope("default") | dict(rope_parameters=dict(rope_type="default", rope_theta=500.0))),
    "llama linear": (L, small | rope("linear", factor=3.0)), "llama dynamic": (L, small | rope("dynamic", factor=3.0)),
    "llama llama3": (L, small | rope("llama3", **llama3)), "llama yarn": (L, small | rope("yarn", **yarn)),
    "llama yarn mscale": (L, small | rope("yarn", **yarn, mscale=0.7, mscale_all_dim=1.2)),
    "llama yarn betas": (L, small | rope("yarn", **yarn, beta_fast=8.0, beta_slow=2.0, truncate=False)),
    "llama yarn attention": (L, small | rope("yarn", **yarn, attention_factor=1.3)),
    "llama longrope": (L, small | rope("longrope", factor=4.0, short_factor=[1.0] * 4, long_factor=[2.0] * 4,
                                       original_max_position_embeddings=16)),
    "llama partial": (L, small | rope("default", partial_rotary_factor=0.5)),
    "llama old": (L, small, old_keys()),
    "llama old linear": (L, small | rope("linear", factor=3.0), old_keys()),
    "llama old llama3": (L, small | rope("llama3", **llama3), old_keys()),
    "llama old yarn": (L, small | rope("yarn", **yarn), old_keys()),
    "llama dropout": (L, small | dict(attention_dropout=0.5)),
    "mistral": (M, small | dict(num_key_value_heads=2)), "mistral window": (M, small | dict(sliding_window=5)),
    "mistral window 1": (M, small | dict(sliding_window=1)),
    "mistral no window": (M, small | dict(sliding_window=None)),
    "mistral head": (M, small | dict(head_dim=20, num_key_value_heads=1)),
    "mistral yarn": (M, small | rope("yarn", **yarn)), "mistral tied": (M, small | dict(tie_word_embeddings=True)),
    "mistral layer types": (M, small | dict(sliding_window=5), put(layer_types=["full_attention"] * 3), True),
    "mistral old": (M, small | dict(sliding_window=5), old_keys()),
    "qwen2": (Q2, small), "qwen2 tied": (Q2, small | dict(tie_word_embeddings=True, num_key_value_heads=2)),
    "qwen2 window": (Q2, small | dict(use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "qwen2 window all": (Q2, small | dict(use_sliding_window=True, sliding_window=5, max_window_layers=0)),
    "qwen2 window types": (Q2, small | dict(use_sliding_window=True, sliding_window=4,
                          layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "qwen2 window unused": (Q2, small | dict(use_sliding_window=False, sliding_window=5)),
    "qwen2 yarn": (Q2, small | rope("yarn", **yarn)), "qwen2 old": (Q2, small, old_keys()),
    "qwen2 old window": (Q2, small | dict(use_sliding_window=True, sliding_window=5, max_window_layers=1),
                         lambda c: (old_keys()(c), c.pop("layer_types", None))),
    "qwen3": (Q3, small | dict(head_dim=8)), "qwen3 head": (Q3, small | dict(head_dim=12, num_key_value_heads=2)),
    "qwen3 bias": (Q3, small | dict(head_dim=8, attention_bias=True)),
    "qwen3 tied": (Q3, small | dict(head_dim=8, tie_word_embeddings=True)),
    "qwen3 window": (Q3, small | dict(head_dim=8, use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "smollm3": (S3, small | dict(num_key_value_heads=2)),
    "smollm3 nope": (S3, small | dict(num_key_value_heads=2, no_rope_layers=[1, 0, 0])),
    "smollm3 interval": (S3, small | dict(num_key_value_heads=2, no_rope_layer_interval=2)),
    "smollm3 window": (S3, small | dict(num_key_value_heads=2, use_sliding_window=True, sliding_window=5,
                                        no_rope_layers=[1, 0, 1])),
    "smollm3 biases": (S3, small | dict(num_key_value_heads=2, attention_bias=True, mlp_bias=True)),
    "smollm3 untied": (S3, small | dict(num_key_value_heads=2, tie_word_embeddings=False)),
    "gemma2": (G2, small | dict(head_dim=8, num_key_value_heads=2)),
    "gemma2 window": (G2, small | dict(head_dim=8, num_key_value_heads=2, sliding_window=5)),
    "gemma2 caps": (G2, small | dict(head_dim=8, num_key_value_heads=2, attn_logit_softcapping=3.0,
                                     final_logit_softcapping=2.0)),
    "gemma2 no caps": (G2, small | dict(head_dim=8, num_key_value_heads=2, attn_logit_softcapping=None,
                                        final_logit_softcapping=None)),
    "gemma2 scalar": (G2, small | dict(head_dim=8, num_key_value_heads=2, query_pre_attn_scalar=3)),
    "gemma2 bias": (G2, small | dict(head_dim=8, num_key_value_heads=2, attention_bias=True)),
    "gemma2 untied": (G2, small | dict(head_dim=8, num_key_value_heads=2, tie_word_embeddings=False)),
    "gemma2 gelu": (G2, small | dict(head_dim=8, num_key_value_heads=2, hidden_activation="gelu")),
    "gemma2 bidirectional": (G2, small | dict(head_dim=8, num_key_value_heads=2), put(use_bidirectional_attention=True),
                             True),
    "gemma3": (G3, small | dict(head_dim=8, num_key_value_heads=2)),
    "gemma3 window": (G3, small | dict(head_dim=8, num_key_value_heads=2, sliding_window=5,
                      layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "gemma3 ropes": (G3, small | dict(head_dim=8, num_key_value_heads=2, sliding_window=9,
                     layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                     rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
                                      "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}})),
    "gemma3 caps": (G3, small | dict(head_dim=8, num_key_value_heads=2, attn_logit_softcapping=3.0,
                                     final_logit_softcapping=2.0)),
    "gemma3 bidirectional": (G3, small | dict(head_dim=8, num_key_value_heads=2, use_bidirectional_attention=True)),
    "gemma3 bias": (G3, small | dict(head_dim=8, num_key_value_heads=2, attention_bias=True)),
}
width = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
# What has another architecture, and a `model_type` that says so.
others = {
    "gemma": (hf.GemmaForCausalLM, hf.GemmaConfig, small | dict(head_dim=8)),
    "phi": (hf.PhiForCausalLM, hf.PhiConfig, small), "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config, small),
    "gpt_neox": (hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, small),
    "granite": (hf.GraniteForCausalLM, hf.GraniteConfig, small | dict(residual_multiplier=0.5)),
    "olmo": (hf.OlmoForCausalLM, hf.OlmoConfig, small), "olmo2": (hf.Olmo2ForCausalLM, hf.Olmo2Config, small),
    "starcoder2": (hf.Starcoder2ForCausalLM, hf.Starcoder2Config, small | dict(num_key_value_heads=2)),
    "stablelm": (hf.StableLmForCausalLM, hf.StableLmConfig, small),
    "cohere": (hf.CohereForCausalLM, hf.CohereConfig, small),
    "mixtral": (hf.MixtralForCausalLM, hf.MixtralConfig, small | dict(num_key_value_heads=2)),
    "qwen2_moe": (hf.Qwen2MoeForCausalLM, hf.Qwen2MoeConfig, small | dict(num_experts=2, num_experts_per_tok=1)),
    "opt": (hf.OPTForCausalLM, hf.OPTConfig, dict(vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=2,
            num_attention_heads=4, word_embed_proj_dim=32, max_position_embeddings=64)),
    "gpt_neo": (hf.GPTNeoForCausalLM, hf.GPTNeoConfig, dict(vocab_size=VOCABULARY, hidden_size=32, num_layers=2,
                num_heads=4, attention_types=[[["global", "local"], 1]], max_position_embeddings=64)),
    "bloom": (hf.BloomForCausalLM, hf.BloomConfig, dict(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)),
}
encoders = {
    "bert": (hf.BertModel, hf.BertConfig(**width)),
    "bert relu": (hf.BertModel, hf.BertConfig(**width, hidden_act="relu")),
    "bert epsilon": (hf.BertModel, hf.BertConfig(**width, layer_norm_eps=0.1)),
    "bert one type": (hf.BertModel, hf.BertConfig(**width, type_vocab_size=1)),
    "bert decoder": (hf.BertModel, hf.BertConfig(**width, is_decoder=True)),
    "roberta": (hf.RobertaModel, hf.RobertaConfig(**width, type_vocab_size=1)),
    "roberta padding": (hf.RobertaModel, hf.RobertaConfig(**width, type_vocab_size=1, pad_token_id=2)),
    "xlm-roberta": (hf.XLMRobertaModel, hf.XLMRobertaConfig(**width, type_vocab_size=1)),
    "electra": (hf.ElectraModel, hf.ElectraConfig(**width, embedding_size=16)),
    "distilbert": (hf.DistilBertModel, hf.DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4,
                                                           hidden_dim=48)),
    "distilbert sinusoidal": (hf.DistilBertModel, hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48, sinusoidal_pos_embds=True)),
    "distilbert relu": (hf.DistilBertModel, hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48, activation="relu")),
}
short = dict(vocab_size=VOCABULARY, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=3, pad_token_id=0, eos_token_id=1,
             decoder_start_token_id=0)
T, MT = (hf.T5ForConditionalGeneration, hf.T5Config), (hf.MT5ForConditionalGeneration, hf.MT5Config)
pairs = {
    "t5": (T, short, False), "t5 own output": (T, short, True),
    "t5 1.1": (T, short | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False), True),
    "t5 1.1 tied": (T, short | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False), False),
    "t5 gated-silu": (T, short | dict(feed_forward_proj="gated-silu"), False),
    "t5 gated-relu": (T, short | dict(feed_forward_proj="gated-relu"), False),
    "t5 gated-gelu_new": (T, short | dict(feed_forward_proj="gated-gelu_new"), False),
    "t5 gelu": (T, short | dict(feed_forward_proj="gelu"), False),
    "t5 gelu_new": (T, short | dict(feed_forward_proj="gelu_new"), False),
    "t5 quick_gelu": (T, short | dict(feed_forward_proj="quick_gelu"), False),
    "t5 one head": (T, short | dict(num_heads=1, d_kv=7), False),
    "t5 deep decoder": (T, short | dict(num_decoder_layers=4), False),
    "t5 shallow decoder": (T, short | dict(num_decoder_layers=1), False),
    "t5 near": (T, short | dict(relative_attention_num_buckets=8, relative_attention_max_distance=9), False),
    "t5 odd buckets": (T, short | dict(relative_attention_num_buckets=9, relative_attention_max_distance=50), False),
    "t5 two buckets": (T, short | dict(relative_attention_num_buckets=2, relative_attention_max_distance=50), False),
    "t5 start": (T, short | dict(decoder_start_token_id=3, pad_token_id=2), False),
    "t5 epsilon": (T, short | dict(layer_norm_epsilon=0.1), False),
    "mt5": (MT, short, True), "mt5 tied": (MT, short, False), "mt5 relu": (MT, short | dict(feed_forward_proj="relu"), True),
}
bad, count, refused = [], 0, 0


def tell(name, result):
    global count, refused
    count += 1
    if isinstance(result, str):
        refused += 1
        print(json.dumps({"layout": name, "refused": result}, ensure_ascii=False), flush=True)
    else:
        good = result < 1e-4
        if not good:
            bad.append(name)
        print(json.dumps({"layout": name, "largest_difference": result} | ({} if good else {"wrong": True})), flush=True)


def chosen(name):
    return not wanted or any(word in name for word in wanted)


for name, ((kind, config), fields, *rest) in cases.items():
    if chosen(name):
        edit, again = (rest + [None, False])[:2] if len(rest) < 2 else rest
        try:
            made = config(**fields)
        except Exception as error:
            print(json.dumps({"layout": name, "skipped": str(error).splitlines()[0]}))
            continue
        tell(name, causal(kind, made, edit, loaded_again=bool(again)))
for name, (kind, config, fields) in others.items():
    if chosen(name):
        result = causal(kind, config(**fields))
        tell(name, result)
for name, (kind, config) in encoders.items():
    if chosen(name):
        tell(name, embedded(kind, config))

for name, ((kind, config), fields, own_output) in pairs.items():
    if chosen(name):
        tell(name, source_to_target(kind, config(**fields), own_output))

draw = random.Random(7)
for number in range(int(os.environ.get("LOAM_DRAWS", "40"))):
    kind, config = draw.choice([L, M, Q2, Q3, S3, G2, G3])
    shared = draw.choice([1, 2, 3])
    heads = shared * draw.choice([1, 2, 3, 5])
    fields = small | dict(
        num_key_value_heads=shared, num_attention_heads=heads, hidden_size=heads * draw.choice([2, 3, 6, 8]),
        head_dim=draw.choice([2, 4, 6, 10, 16, 18]),
        intermediate_size=draw.choice([7, 32, 65]), num_hidden_layers=draw.choice([1, 2, 3, 5]),
        tie_word_embeddings=draw.random() < 0.5, rms_norm_eps=draw.choice([1e-6, 1e-3]))
    if config in (hf.LlamaConfig, hf.Qwen3Config, hf.SmolLM3Config, hf.Gemma2Config, hf.Gemma3TextConfig):
        fields["attention_bias"] = draw.random() < 0.5
    if config in (hf.LlamaConfig, hf.SmolLM3Config):
        fields["mlp_bias"] = draw.random() < 0.5
    if config not in (hf.LlamaConfig, hf.Gemma3TextConfig):
        fields["sliding_window"] = draw.choice([2, 7, 30])
    if config in (hf.Qwen2Config, hf.Qwen3Config, hf.SmolLM3Config):
        fields |= {"use_sliding_window": draw.random() < 0.7, "max_window_layers": draw.choice([0, 1, 2])}
    if config is not hf.Gemma3TextConfig:
        fields |= draw.choice([{}, rope("linear", factor=2.5), rope("llama3", **llama3), rope("yarn", **yarn)])
    name = f"drawn {number} {config.model_type}"
    if chosen(name):
        tell(name, causal(kind, config(**fields), seed=number, tokens=draw.choice([2, 17, 63])))
for number in range(int(os.environ.get("LOAM_DRAWS", "40")) // 2):
    kind, config = draw.choice([T, T, MT])
    fields = short | dict(
        d_model=draw.choice([3, 8, 20]), d_kv=draw.choice([1, 3, 8]), num_heads=draw.choice([1, 2, 5]),
        d_ff=draw.choice([7, 32]), num_layers=draw.choice([1, 2, 3]), num_decoder_layers=draw.choice([1, 2, 3]),
        relative_attention_num_buckets=draw.choice([4, 6, 32]), relative_attention_max_distance=draw.choice([17, 40, 128]),
        feed_forward_proj=draw.choice(["relu", "gated-gelu", "gated-silu", "silu", "tanh"]))
    if config is hf.T5Config:
        fields["tie_word_embeddings"] = draw.random() < 0.5
    name = f"drawn {number} {config.model_type}"
    if chosen(name):
        tell(name, source_to_target(kind, config(**fields), draw.random() < 0.5, seed=number))
print(json.dumps({"layouts": count, "refused": refused, "wrong": bad}))
sys.exit(bool(bad))
