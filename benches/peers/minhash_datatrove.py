"""Near duplicates by datatrove's MinHash (and text-dedup's, where it is installed) and by Loam, on the same documents on one core.

    cargo build --release -p loam-corpus --example near_duplicates
    target/release/examples/near_duplicates --documents 20000 --write documents.jsonl
    pip install 'datatrove[processing]' orjson spacy    # 0.10; text-dedup 0.4 in an environment of its own
    python benches/peers/minhash_datatrove.py documents.jsonl target/release/examples/near_duplicates \\
        [--text-dedup ITS/bin/python] [--rounds 3] [--core 0]

Every round runs all in turn: reading JSON lines, 14 bands of 8 rows over 5 words, clusters, and writing what stays. The start
of a process is not counted. `datatrove` splits words as it does by default, with spaCy; `datatrove, split` at white space
alone, which is not what it does but shows what the rest costs. Prints the best of each and the ratios.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time


def datatrove(documents, folder, plain):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.logging import logger
    from datatrove.utils.word_tokenizers import WordTokenizer

    logger.remove()

    class Split(WordTokenizer):
        def __init__(self):
            super().__init__("en")

        def word_tokenize(self, text):
            return text.split()

        def sent_tokenize(self, text):
            return [text]

        def span_tokenize(self, text):
            return [(0, len(text))]

    source, name = os.path.split(os.path.abspath(documents))
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    reader = lambda: JsonlReader(source, glob_pattern=name)
    language = {"language": Split()} if plain else {}
    signature = MinhashDedupSignature(f"{folder}/signatures", config=config, **language)
    # Importing spaCy is part of the start.
    signature.get_signature(signature.get_shingles("a few words to begin with and one more"))
    stages = {
        "read and hash": (1, [reader(), signature]),
        "buckets": (14, [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)]),
        "cluster": (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config)]),
        "filter": (1, [reader(), MinhashDedupFilter(f"{folder}/remove"), JsonlWriter(f"{folder}/out", compression=None)]),
    }
    seconds = {}
    for stage, (tasks, pipeline) in stages.items():
        begun = time.perf_counter()
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs/{stage}").run()
        seconds[stage] = time.perf_counter() - begun
    kept = sum(1 for file in os.listdir(f"{folder}/out") for _ in open(f"{folder}/out/{file}"))
    print(json.dumps({"seconds": sum(seconds.values()), "stages": seconds, "kept": kept}))


def text_dedup(documents, folder):
    import datasets
    from text_dedup.minhash import main

    words = ["--path", "json", "--data_files", os.path.abspath(documents), "--split", "train", "--column", "text"]
    words += ["--output", f"{folder}/out", "--cache_dir", f"{folder}/cache", "--num_proc", "1", "--num_perm", "112"]
    words += ["--b", "14", "--r", "8", "--ngram", "5", "--hash_func", "xxh3"]
    begun = time.perf_counter()
    main(words, standalone_mode=False)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "kept": len(datasets.load_from_disk(f"{folder}/out"))}))


def lines(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # On a machine that others use this says more than the clock does; the start of the process is in it.
        result["processor_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return result
    except (IndexError, ValueError):
        return {"error": (done.stdout + done.stderr)[-1000:]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("documents")
    parser.add_argument("loam")
    parser.add_argument("--text-dedup", help="a Python that has it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm == "text-dedup":
        return text_dedup(arguments.documents, arguments.loam)
    if arguments.arm:
        return datatrove(arguments.documents, arguments.loam, arguments.arm == "split")
    os.sched_setaffinity(0, {arguments.core})
    best = {}
    for _ in range(arguments.rounds):
        for arm in ["loam", "datatrove", "datatrove, split"] + ["text-dedup"] * bool(arguments.text_dedup):
            folder = tempfile.mkdtemp()
            if arm == "loam":
                out = f"{folder}/out.jsonl"
                result = lines([arguments.loam, "--threads", "1", "--read", arguments.documents, "--out", out])
            else:
                python = arguments.text_dedup if arm == "text-dedup" else sys.executable
                kind = {"datatrove": "default", "datatrove, split": "split"}.get(arm, arm)
                result = lines([python, __file__, arguments.documents, folder, "--arm", kind])
            shutil.rmtree(folder)
            print(json.dumps({"arm": arm, **result}), flush=True)
            if "seconds" in result:
                best[arm] = min(best.get(arm, float("inf")), result["seconds"])
    for arm, seconds in best.items():
        print(f"{arm}: {seconds:.3f} s, {seconds / best['loam']:.1f} times Loam's")


main()
