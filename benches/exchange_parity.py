"""Sends tiny models of transformers through `loam import` and `loam export` and compares logits.

    python -m venv peers && peers/bin/pip install torch transformers
    peers/bin/python benches/exchange_parity.py target/release/loam [SENTENCE_MODEL_FOLDER]

For each family: `torch.save` (a .bin with shared storages) -> import -> export in shards -> from_pretrained, whose
logits have to be those of the model that was saved. With a folder of a sentence-transformers model, `loam embed` is
compared with transformers' mean pooling, normalized. It exits with 1 where a difference is above 1e-5 (1e-4 for embed).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf

loam = sys.argv[1]
small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
llama = small | {"num_key_value_heads": 2, "max_position_embeddings": 64}
families = {
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config(vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4)),
    "bert": (hf.BertForMaskedLM, hf.BertConfig(**small)),
    "roberta": (hf.RobertaForMaskedLM, hf.RobertaConfig(**small, max_position_embeddings=66)),
    "distilbert": (hf.DistilBertForMaskedLM, hf.DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=64)),
    "marian": (hf.MarianMTModel, hf.MarianConfig(
        vocab_size=99, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, pad_token_id=98,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, decoder_start_token_id=98, eos_token_id=0,
        max_position_embeddings=64, forced_eos_token_id=0)),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**llama)),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config(**llama)),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig(**llama)),
}
worst = 0.0


def run(*arguments):
    done = subprocess.run([loam, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"loam {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


for name, (kind, config) in families.items():
    torch.manual_seed(1)
    model = kind(config).eval()
    ids = torch.randint(3, 97, (2, 11))
    arguments = {"input_ids": ids} | ({"decoder_input_ids": ids[:, :7]} if name == "marian" else {})
    for form in ("bin", "old bin", "safetensors"):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            source, imported, exported = (Path(folder) / part for part in ("source", "imported", "exported"))
            model.save_pretrained(source)
            if form != "safetensors":
                (source / "model.safetensors").unlink()
                new = form == "bin"
                torch.save(model.state_dict(), source / "pytorch_model.bin", _use_new_zipfile_serialization=new)
            run("import", source, "-o", imported)
            run("export", imported, "-o", exported, "--max-shard-size", "20kB")
            shards = len(list(exported.glob("model-*.safetensors")))
            loaded = kind.from_pretrained(exported).eval()
            difference = (loaded(**arguments).logits - model(**arguments).logits).abs().max().item()
            half = Path(folder) / "half"
            run("export", imported, "-o", half, "--dtype", "bf16")
            assert next(kind.from_pretrained(half).parameters()).dtype == torch.bfloat16
            worst = max(worst, difference)
            print(json.dumps({"family": name, "from": form, "shards": shards, "largest_difference": difference}))

bad = worst > 1e-5
if len(sys.argv) > 2:
    folder = sys.argv[2]
    texts = ["A cat sits on the mat.", "Der Hund bellt.", "x", "The quick brown fox jumps over the lazy dog. " * 60, "语言模型"]
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    flags = [flag for text in texts for flag in ("--text", text)]
    found = torch.tensor([json.loads(line)["embedding"] for line in run("embed", "--model", folder, *flags).splitlines()])
    difference = (found - expected).abs().max().item()
    print(json.dumps({"embed": folder.rstrip("/").split("/")[-1], "largest_difference": difference}))
    bad = bad or difference > 1e-4
sys.exit(bad)
