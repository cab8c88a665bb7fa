"""Compares heads over BERT's families and over decoders, convolutions over words and recurrent classifiers with transformers and PyTorch, both
ways, and `loam fill-mask` with the fill-mask pipeline, on tiny random models of random shapes.

    python -m venv peers && peers/bin/pip install torch transformers safetensors
    cargo build --release --workspace --bin loam --example heads
    peers/bin/python benches/heads_parity.py target/release/loam target/release/examples/heads

Each line is one model: written by transformers, read here, logits compared; written anew here, opened by the Auto class of
its task there, logits compared again (1e-4, f32). Encoders without a head get a new one here. It exits with 1 where
something differs. `LOAM_DRAWS` is the number of random shapes (40).
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
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from torch import nn
from torch.nn import functional

loam, heads = sys.argv[1:3]
hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()
failures = 0
FAMILIES = ["Bert", "Roberta", "XLMRoberta", "Camembert", "DistilBert"]
DECODERS = ["GPT2", "Llama", "Mistral", "Qwen2", "Qwen3"]
HEADS = ["SequenceClassification", "TokenClassification", "QuestionAnswering", "NextSentencePrediction", "PreTraining"]


def report(name, difference):
    global failures
    good = isinstance(difference, float) and difference < 1e-4
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name:<70} {difference}", flush=True)


def shake(model, seed):
    """Norms and biases begin at one and zero, which hides where they are used."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.3 * noise if parameter.dim() == 1 else 0.35 * noise)
    return model.eval()


def configuration(family, draw):
    """A random shape of a family."""
    each = draw.choice([1, 2, 4]), draw.choice([4, 6, 8])
    layers, inner = draw.randint(1, 3), draw.randint(5, 40)
    act = draw.choice(["gelu", "gelu_new", "relu", "silu"])
    labels, vocabulary = draw.randint(2, 7), draw.randint(20, 70)
    problem = draw.choice([None, "single_label_classification", "multi_label_classification", "regression"])
    names = {number: f"label {number}" for number in range(labels)}
    more = dict(vocab_size=vocabulary, id2label=names, label2id={name: number for number, name in names.items()})
    more |= dict(problem_type=problem)
    positions = draw.randint(12, 30)
    if family == "DistilBert":
        more |= dict(dim=each[0] * each[1], n_heads=each[0], n_layers=layers, hidden_dim=inner, activation=act)
        more |= dict(seq_classif_dropout=draw.choice([0.0, 0.3]), max_position_embeddings=positions)
        return hf.DistilBertConfig(**more)
    more |= dict(hidden_size=each[0] * each[1], num_attention_heads=each[0], num_hidden_layers=layers)
    more |= dict(intermediate_size=inner, hidden_act=act, layer_norm_eps=draw.choice([1e-12, 1e-5, 1e-3]))
    more |= dict(classifier_dropout=draw.choice([None, 0.0, 0.4]), type_vocab_size=draw.choice([1, 2, 3]))
    if family != "Bert":
        more |= dict(pad_token_id=draw.choice([1, 3]))
        positions += 5
    return getattr(hf, f"{family}Config")(**more, max_position_embeddings=positions)


def decoder(family, draw):
    """A random decoder, as configuration and class, with a head over texts."""
    heads, labels, vocabulary = draw.choice([1, 2, 4]), draw.randint(2, 7), draw.randint(20, 70)
    names = {number: f"label {number}" for number in range(labels)}
    more = dict(vocab_size=vocabulary, id2label=names, label2id={name: number for number, name in names.items()})
    more |= dict(pad_token_id=0, problem_type=draw.choice([None, "multi_label_classification"]))
    width, layers, inner = heads * draw.choice([4, 6, 8]), draw.randint(1, 3), draw.randint(5, 40)
    if family == "GPT2":
        return hf.GPT2Config(**more, n_embd=width, n_head=heads, n_layer=layers, n_inner=inner, n_positions=20)
    more |= dict(hidden_size=width, num_attention_heads=heads, num_key_value_heads=draw.choice([1, heads]))
    more |= dict(num_hidden_layers=layers, intermediate_size=inner, max_position_embeddings=20)
    return getattr(hf, f"{family}Config")(**more, tie_word_embeddings=draw.choice([False, True]))


def of_decoder(family, draw):
    config = decoder(family, draw)
    model = shake(getattr(hf, f"{family}ForSequenceClassification")(config), draw.randint(0, 1 << 30))
    ids, _, lengths, mask = inputs(config, draw)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(f"{folder}/theirs")
        found = torch.tensor(ours(f"{folder}/theirs", f"{folder}/ours", ids, None, lengths)["logits"])
        one = model(input_ids=ids, attention_mask=mask).logits
        auto = hf.AutoModelForSequenceClassification
        again, info = auto.from_pretrained(f"{folder}/ours", output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        other = again.eval()(input_ids=ids, attention_mask=mask).logits
        assert again.config.id2label == config.id2label, again.config.id2label
        return max((found.reshape(one.shape) - logits).abs().max().item() for logits in (one, other))


def inputs(config, draw):
    """Padded rows."""
    generator = torch.Generator().manual_seed(draw.randint(0, 1 << 30))
    rows, time = draw.randint(1, 4), draw.randint(2, 12)
    lengths = [time] + [draw.randint(1, time) for _ in range(rows - 1)]
    mask = (torch.arange(time)[None] < torch.tensor(lengths)[:, None]).long()
    # Above every padding id, by which RoBERTa counts its positions.
    ids = torch.randint(5, config.vocab_size, (rows, time), generator=generator)
    ids = ids * mask + (config.pad_token_id or 0) * (1 - mask)
    types = getattr(config, "type_vocab_size", 0)
    types = torch.randint(0, types, (rows, time), generator=generator) if types > 1 else None
    return ids, types, lengths, mask


def ours(folder, out, ids, types, lengths):
    asked = {"ids": ids.tolist(), "types": None if types is None else types.tolist(), "lengths": lengths}
    done = subprocess.run([heads, folder, out], input=json.dumps(asked), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return json.loads(done.stdout)


def difference(found, wanted, mask):
    """The largest, over what is not padding."""
    largest = 0.0
    for key, values in found.items():
        expected = wanted[key].detach()
        values = torch.tensor(values).reshape(expected.shape)
        if key not in ("seq_relationship_logits",) and expected.shape[:2] == mask.shape and len(wanted) != 1:
            keep = mask if expected.dim() == 2 else mask[..., None]
            values, expected = values * keep, expected * keep
        elif expected.dim() == 3:
            values, expected = values * mask[..., None], expected * mask[..., None]
        largest = max(largest, (values - expected).abs().max().item())
    return largest


def of_family(family, head, draw, new=False):
    config = configuration(family, draw)
    labeled = head.endswith("Classification")
    if not labeled:
        # Two ends of a span; other heads have no labels.
        config.id2label, config.label2id, config.problem_type = {0: "LABEL_0", 1: "LABEL_1"}, None, None
    kind = getattr(hf, f"{family}{'Model' if new else 'For' + head}")
    model = shake(kind(config), draw.randint(0, 1 << 30))
    ids, types, lengths, mask = inputs(config, draw)
    arguments = dict(input_ids=ids, attention_mask=mask) | ({} if types is None else dict(token_type_ids=types))
    auto = getattr(hf, f"AutoModelFor{head}")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(f"{folder}/theirs")
        found = ours(f"{folder}/theirs", f"{folder}/ours", ids, types, lengths)
        one = 0.0
        if not new:
            out = model(**arguments)
            one = difference(found, {key: out[key] for key in found}, mask)
        again, info = auto.from_pretrained(f"{folder}/ours", output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        out = again.eval()(**arguments)
        other = difference(found, {key: out[key] for key in found}, mask)
        if labeled and not new:
            assert again.config.id2label == config.id2label, again.config.id2label
        return max(one, other)


class TextCnn(nn.Module):
    def __init__(self, config, labels):
        super().__init__()
        width, filters, sizes = config["embedding_size"], config["num_filters"], config["kernel_sizes"]
        self.embedding = nn.Embedding(config["vocab_size"], width)
        self.convolutions = nn.ModuleList([nn.Conv1d(width, filters, size) for size in sizes])
        self.classifier = nn.Linear(len(sizes) * filters, labels)

    def forward(self, text):
        x = self.embedding(text).transpose(0, 1)[None]
        x = functional.pad(x, (0, max(0, max(c.kernel_size[0] for c in self.convolutions) - text.numel())))
        return self.classifier(torch.cat([functional.relu(c(x)).amax(2) for c in self.convolutions], 1))


class Recurrent(nn.Module):
    def __init__(self, config, labels):
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config["model_type"]]
        both, self.pooling = config["bidirectional"], config["pooling"]
        self.encoder = nn.Embedding(config["vocab_size"], config["embedding_size"])
        self.rnn = kind(config["embedding_size"], config["hidden_size"], config["num_hidden_layers"], batch_first=True,
                        bidirectional=both)
        self.classifier = nn.Linear((1 + both) * config["hidden_size"], labels)

    def forward(self, text):
        states, last = self.rnn(self.encoder(text)[None])
        last = last[0] if isinstance(last, tuple) else last
        if self.pooling != "last":
            return self.classifier(states.amax(1) if self.pooling == "max" else states.mean(1))
        return self.classifier(torch.cat([last[-2], last[-1]], 1) if self.rnn.bidirectional else last[-1])


def of_loam(kind, draw):
    labels = draw.randint(2, 5)
    config = dict(vocab_size=draw.randint(20, 60), embedding_size=draw.randint(1, 12), context_length=32)
    if kind == "textcnn":
        sizes = draw.sample(range(1, 7), draw.randint(1, 4))
        config |= dict(model_type=kind, kernel_sizes=sizes, num_filters=draw.randint(1, 9))
    else:
        config |= dict(model_type=kind, hidden_size=draw.randint(1, 12), num_hidden_layers=draw.randint(1, 3),
                       bidirectional=draw.random() < 0.5, pooling=draw.choice(["last", "max", "mean"]))
    seed = draw.randint(0, 1 << 30)
    model = shake((TextCnn if kind == "textcnn" else Recurrent)(config, labels), seed)
    ids, _, lengths, mask = inputs(hf.PretrainedConfig(vocab_size=config["vocab_size"], pad_token_id=0), draw)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        theirs = Path(folder) / "theirs"
        theirs.mkdir()
        names = {str(number): f"label {number}" for number in range(labels)}
        (theirs / "config.json").write_text(json.dumps(config | {"id2label": names}))
        save_file({name: value.clone() for name, value in model.state_dict().items()}, theirs / "model.safetensors")
        found = ours(str(theirs), f"{folder}/ours", ids, None, lengths)
        expected = torch.cat([model(row[:length]) for row, length in zip(ids, lengths)])
        model.load_state_dict(load_file(f"{folder}/ours/model.safetensors"))
        again = torch.cat([model(row[:length]) for row, length in zip(ids, lengths)])
        values = torch.tensor(found["logits"]).reshape(expected.shape)
        return max((values - expected).abs().max().item(), (values - again).abs().max().item())


def filled(family, draw):
    """`loam fill-mask` and the pipeline on the same words: ids, texts and probabilities."""
    config = configuration(family, draw)
    config.tie_word_embeddings = True
    model = shake(getattr(hf, f"{family}ForMaskedLM")(config), draw.randint(0, 1 << 30))
    begin, end, pad, unknown, mask = "<s>", "</s>", "<pad>", "<unk>", draw.choice(["[MASK]", "<mask>"])
    special = {begin: 0, pad: 1, end: 2, unknown: 3}
    if family in ("Bert", "DistilBert"):
        special = {pad: 0, begin: 1, end: 2, unknown: 3}
    words = special | {f"w{number}": number for number in range(4, config.vocab_size - 1)}
    words[mask] = config.vocab_size - 1
    made = Tokenizer(models.WordLevel(words, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([begin, pad, end, unknown, AddedToken(mask, lstrip=draw.random() < 0.5, special=True)])
    made.post_processor = processors.TemplateProcessing(
        f"{begin} $A {end}", special_tokens=[(begin, words[begin]), (end, words[end])]
    )
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=made, mask_token=mask, pad_token=pad, cls_token=begin,
                                           sep_token=end, unk_token=unknown)
    text = " ".join(draw.choice([mask, *list(words)[4:-1]]) for _ in range(draw.randint(1, 8))) + f" {mask}"
    pipeline = hf.pipeline("fill-mask", model=model, tokenizer=tokenizer)
    found = pipeline(text, top_k=6, tokenizer_kwargs={"return_token_type_ids": False})
    found = found if isinstance(found[0], list) else [found]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        command = [loam, "fill-mask", "--model", folder, text, "--top-k", "6", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        told = json.loads(done.stdout)
    assert len(told["masks"]) == len(found), (text, told)
    largest = 0.0
    for ours_, theirs in zip(told["masks"], found):
        for one, other in zip(ours_["candidates"], theirs, strict=True):
            wanted = (other["token"], other["token_str"], other["sequence"])
            assert (one["id"], one["token"], one["text"]) == wanted, (one, other)
            largest = max(largest, abs(one["probability"] - other["score"]))
    return largest


def attempt(name, compare):
    try:
        report(name, compare())
    except Exception as error:
        report(name, f"{type(error).__name__}: {error}"[:300])


for number in range(int(os.environ.get("LOAM_DRAWS", "40"))):
    draw = random.Random(number)
    family = FAMILIES[number % len(FAMILIES)]
    for kind in DECODERS:
        attempt(f"{number} {kind}ForSequenceClassification", lambda: of_decoder(kind, draw))
    for head in HEADS if family == "Bert" else HEADS[:3]:
        attempt(f"{number} {family} {head}", lambda: of_family(family, head, draw))
    attempt(f"{number} {family} with a new head", lambda: of_family(family, HEADS[0], draw, True))
    kind = ["textcnn", "rnn", "textcnn", "lstm", "gru"][number % 5]
    attempt(f"{number} {kind}", lambda: of_loam(kind, draw))
    attempt(f"{number} {family} fill-mask", lambda: filled(family, draw))
print(f"{failures} failures")
sys.exit(bool(failures))
