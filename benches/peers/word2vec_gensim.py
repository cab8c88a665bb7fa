"""Word vectors by gensim 4 with the settings of `loam word2vec train`, on text with a sentence a line and spaces between words.

    python benches/peers/word2vec_gensim.py TEXT [--kind cbow] [--threads 2] [--questions questions-words.txt] [-o vectors.bin]

    loam word2vec train TEXT --whitespace [--kind cbow --lr 0.025] [--threads 2] -o vectors.bin --json
    loam word2vec analogies vectors.bin questions-words.txt --restrict 30000 --json

Prints one JSON object: words a second of training alone, by the clock and by processor time, and the analogies' accuracy.
"""

import argparse
import json
import time

from gensim.models import Word2Vec
from gensim.models.word2vec import LineSentence

parser = argparse.ArgumentParser()
parser.add_argument("text")
parser.add_argument("--kind", choices=["skip-gram", "cbow"], default="skip-gram")
parser.add_argument("--size", type=int, default=100)
parser.add_argument("--window", type=int, default=5)
parser.add_argument("--negative", type=int, default=5)
parser.add_argument("--min-count", type=int, default=5)
parser.add_argument("--sample", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--lr", type=float, default=0.025)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--questions")
parser.add_argument("--restrict", type=int, default=30000)
parser.add_argument("-o", "--out")
arguments = parser.parse_args()

model = Word2Vec(
    vector_size=arguments.size,
    window=arguments.window,
    negative=arguments.negative,
    min_count=arguments.min_count,
    sample=arguments.sample,
    sg=int(arguments.kind == "skip-gram"),
    alpha=arguments.lr,
    workers=arguments.threads,
    seed=arguments.seed,
)
model.build_vocab(corpus_file=arguments.text)
# The text in memory, so that reading it is not measured; a list feeds gensim's threads as its documentation advises.
sentences = list(LineSentence(arguments.text))
begun, used = time.perf_counter(), time.process_time()
model.train(sentences, total_examples=model.corpus_count, epochs=arguments.epochs)
seconds, processor = time.perf_counter() - begun, time.process_time() - used
words = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key) * arguments.epochs
result = {
    "kind": arguments.kind,
    "threads": arguments.threads,
    "words": len(model.wv),
    "seconds": seconds,
    "processor_seconds": processor,
    "words_per_second": words / seconds,
    "words_per_processor_second": words / processor,
}
if arguments.out:
    model.wv.save_word2vec_format(arguments.out, binary=arguments.out.endswith(".bin"))
if arguments.questions:
    _, sections = model.wv.evaluate_word_analogies(arguments.questions, restrict_vocab=arguments.restrict)
    correct, wrong = len(sections[-1]["correct"]), len(sections[-1]["incorrect"])
    result |= {"correct": correct, "asked": correct + wrong, "accuracy": correct / max(1, correct + wrong)}
print(json.dumps(result))
