"""A whole preparation by datatrove and by Loam, on the same gzipped JSON lines on one core.

    cargo build --release
    pip install 'datatrove[processing]==0.10.1' orjson spacy ftfy
    python benches/peers/pipeline_datatrove.py make SAMPLE.jsonl corpus.jsonl.gz --megabytes 40
    python benches/peers/pipeline_datatrove.py race corpus.jsonl.gz target/release/loam TOKENIZER.json [--rounds 3] [--core 0]

Both read gzipped JSON lines, take Gopher's, C4's and FineWeb's filters, redact e-mail and IP addresses, drop near duplicates by
MinHash (14 bands of 8 rows over 5 words) and write tokens of the same tokenizer. Loam also tells the language of every
document; datatrove's own way needs a model that has to be downloaded, so it is spared that. The start of a process is counted
for Loam and not for datatrove.

`make` draws lines of the sample's documents into new documents of the same lengths, so that sizes and words are those of real
pages while few documents are alike; every tenth is an earlier one with a line less. Rates are bytes of text, unpacked, over
seconds of the processor (all threads).
"""

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile


def make(sample, target, megabytes):
    draw = random.Random(7)
    documents = [json.loads(line)["text"].split("\n") for line in open(sample, encoding="utf-8")]
    lines = [line for document in documents for line in document if line.strip()]
    written, earlier = 0, []
    with gzip.open(target, "wt", encoding="utf-8", compresslevel=6) as file:
        while written < megabytes * 1e6:
            if earlier and draw.random() < 0.1:
                text = list(draw.choice(earlier))
                text.pop(draw.randrange(len(text)))
            else:
                text = [draw.choice(lines) for _ in draw.choice(documents)]
            if len(earlier) < 2000 and len(text) > 3:
                earlier.append(text)
            text = "\n".join(text)
            written += len(text.encode())
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(f"{written} bytes of text")


def datatrove(corpus, tokenizer, folder):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.logging import logger

    logger.remove()
    source, name = os.path.split(os.path.abspath(corpus))
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    signature = MinhashDedupSignature(f"{folder}/signatures", config=config)
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter(), PIIFormatter()]
    # Importing spaCy is part of the start.
    signature.get_signature(signature.get_shingles("a few words to begin with and one more"))
    begun = seconds_used()
    clean, stages = f"{folder}/clean", {}
    for stage, (tasks, pipeline) in {
        "read, filter, redact": (1, [JsonlReader(source, glob_pattern=name), *filters, JsonlWriter(clean)]),
        "signatures": (1, [JsonlReader(clean), signature]),
        "buckets": (14, [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)]),
        "cluster": (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config)]),
        "tokens": (
            1,
            [
                JsonlReader(clean),
                MinhashDedupFilter(f"{folder}/remove"),
                DocumentTokenizer(f"{folder}/tokens", tokenizer_name_or_path=tokenizer, shuffle_documents=False),
            ],
        ),
    }.items():
        before = seconds_used()
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs/{stage}").run()
        stages[stage] = round(seconds_used() - before, 2)
    tokens = sum(os.path.getsize(f"{folder}/tokens/{file}") for file in os.listdir(f"{folder}/tokens") if file.endswith(".ds"))
    print(json.dumps({"seconds": seconds_used() - begun, "stages": stages, "token_bytes": tokens}))


def seconds_used():
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def race(corpus, loam, tokenizer, rounds, core):
    size = sum(len(json.loads(line)["text"].encode()) for line in gzip.open(corpus, "rt", encoding="utf-8"))
    found = {"loam": [], "datatrove": []}
    pin = ["taskset", "-c", str(core)]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            words = "data prepare --language en --filter all --redact email,ipv4,ipv6 --deduplicate near --held-out 0 --threads 1".split()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [*pin, loam, *words, "--tokenizer", tokenizer, corpus, "-o", f"{folder}/out", "--json"]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            source = json.loads(said)["sources"]["data"]
            found["loam"].append(used)
            print(f"loam       {used:8.2f} s  kept {source['kept']} of {source['read']}, {source['tokens']['train']} tokens", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [*pin, sys.executable, __file__, "datatrove", corpus, tokenizer, folder]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found["datatrove"].append(said["seconds"])
            print(f"datatrove  {said['seconds']:8.2f} s  {said['stages']}, {said['token_bytes'] // 2} tokens", flush=True)
    best = {name: min(seconds) for name, seconds in found.items()}
    for name, seconds in best.items():
        print(f"{name:10} {size / 1e6 / seconds:8.2f} MB/s of text a core, the best of {rounds}")
    print(f"{best['datatrove'] / best['loam']:.1f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "race", "datatrove"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    if given.what == "make":
        make(*given.files, given.megabytes)
    elif given.what == "datatrove":
        datatrove(*given.files)
    else:
        race(*given.files, given.rounds, given.core)


if __name__ == "__main__":
    main()
