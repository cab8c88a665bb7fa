"""What datatrove's filters say of the documents of a JSON lines file, and where Loam says otherwise.

    pip install datatrove==0.10.1 spacy jieba
    python benches/peers/datatrove_filters.py FILE > theirs.jsonl
    cargo run --release -p loam-corpus --example filters_verdicts -- FILE > ours.jsonl
    python benches/peers/datatrove_filters.py FILE --ours ours.jsonl     lists every difference
    python benches/peers/datatrove_filters.py FILE --speed               times each filter alone, by the time of the processor
    python benches/peers/datatrove_filters.py --documents PATH... > FILE makes such a file of text files
    python benches/peers/datatrove_filters.py --fixture > FILE           verdicts on texts of our own, for the tests

Each line of the output is one document: for each filter the name of the rule that drops it, or null, and the text after
C4. Rules have Loam's names.
"""

import argparse
import json
import os
import sys
import time

os.environ.setdefault("LOGURU_LEVEL", "ERROR")

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_parts

NAMES = {
    "gopher_repetition": {
        "empty": "repetition_empty",
        "dup_para_frac": "repetition_paragraphs",
        "dup_para_char_frac": "repetition_paragraph_characters",
        "dup_line_frac": "repetition_lines",
        "dup_line_char_frac": "repetition_line_characters",
        **{f"top_{n}_gram": f"repetition_top_{n}_gram" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"repetition_duplicate_{n}_gram" for n in range(5, 11)},
    },
    "gopher_quality": {
        "gopher_short_doc": "gopher_min_words",
        "gopher_long_doc": "gopher_max_words",
        "gopher_below_avg_threshold": "gopher_min_mean_word_length",
        "gopher_above_avg_threshold": "gopher_max_mean_word_length",
        "gopher_too_many_hashes": "gopher_hashes",
        "gopher_too_many_ellipsis": "gopher_ellipses",
        "gopher_too_many_bullets": "gopher_bullet_lines",
        "gopher_too_many_end_ellipsis": "gopher_ellipsis_lines",
        "gopher_below_alpha_threshold": "gopher_alphabetic_words",
        "gopher_enough_stop_words": "gopher_stop_words",
    },
    "c4": {
        "lorem_ipsum": "c4_lorem_ipsum",
        "curly_bracket": "c4_curly_bracket",
        "too_few_sentences": "c4_sentences",
    },
    "fineweb": {
        "empty": "fineweb_empty",
        "line_punct_ratio": "fineweb_line_punctuation",
        "short_line_ratio": "fineweb_short_lines",
        "char_dup_ratio": "fineweb_duplicate_characters",
        "list_ratio": "fineweb_new_lines",
    },
}


def filters_of(language):
    return {
        "gopher_repetition": GopherRepetitionFilter(language=language),
        "gopher_quality": GopherQualityFilter(language=language),
        "c4": C4QualityFilter(language=language),
        "fineweb": FineWebQualityFilter(language=language),
    }


def verdict(name, one, text):
    """The rule that drops a text, or none; and the text that the filter leaves."""
    document = Document(text=text, id="0")
    result = one.filter(document)
    return (None if result is True else NAMES[name][result[1]]), document.text


def verdicts(filters, text):
    line = {}
    for name, one in filters.items():
        line[name], left = verdict(name, one, text)
        if name == "c4":
            line["text"] = left
    return line


def texts_of(path):
    with open(path, encoding="utf-8", newline="\n") as lines:
        return [json.loads(line)["text"] for line in lines if line.strip()]


def compare(texts, filters, ours):
    different = dict.fromkeys([*filters, "text"], 0)
    for number, (text, mine) in enumerate(zip(texts, ours, strict=True)):
        theirs = verdicts(filters, text)
        for name in different:
            if theirs[name] != mine[name]:
                different[name] += 1
                shown = (theirs[name], mine[name]) if name != "text" else ("a text", "another")
                print(f"document {number}, {name}: datatrove {shown[0]}, Loam {shown[1]}: {text[:60]!r}")
    for name, count in different.items():
        share = 100 * (1 - count / max(1, len(texts)))
        print(f"{name:18} {len(texts)} documents, {count} different, {share:.2f} % equal")


def speed(texts, filters):
    size = sum(len(text.encode()) for text in texts) / 1e6
    for name, one in filters.items():
        verdict(name, one, "Warm up: load the tokenizer.")
        start = time.process_time()
        for text in texts:
            # Each filter splits words by itself, but for texts that were split a moment ago.
            split_into_parts.cache_clear()
            verdict(name, one, text)
        seconds = time.process_time() - start
        print(f"{name:18} {size / seconds:8.3f} MB/s")
    start = time.process_time()
    for text in texts:
        for name, one in filters.items():
            verdict(name, one, text)
    everything = time.process_time() - start
    print(f"{'all four':18} {size / everything:8.3f} MB/s (words of a text kept from filter to filter)")


def documents(paths):
    """Whole files, and the paragraphs of those that are long."""
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
        for part in text.split("\n\n\n") if len(text) > 200_000 else [text]:
            print(json.dumps({"text": part}, ensure_ascii=False))


SENTENCE = "The quick brown fox jumps over the lazy dog and runs to the end of the long road."


def own_texts():
    """Texts of our own that reach each rule, from both sides where a text can."""
    varied = [
        f"Line {n} says that the {a} of the {b} have been with us for {n * 7} years, and it is to be kept."
        for n, (a, b) in enumerate(zip("house garden river mountain forest village market harbor bridge tower".split(),
                                       "king queen baker miller sailor farmer teacher painter doctor singer".split()))
    ]
    whole = "\n".join(varied)
    letters = "bcdfghklmnprst"
    # Words that hardly repeat, by a multiplicative order modulo a prime.
    fresh = [letters[n % 14] + "aeiou"[n % 5] + letters[n // 14 % 14] + "aeiou"[n // 7 % 5] + letters[n // 3 % 14]
             for n in (pow(7, k, 1009) for k in range(400))]
    prose = "\n".join(f"The {' '.join(fresh[k:k + 14])} and {' '.join(fresh[k + 14:k + 20])}." for k in range(0, 400, 20))
    tables = "\n".join(" ".join(str(n * k % 12) for k in range(3, 15)) for n in range(30))
    return [
        prose, prose + "\n" + prose[:500], prose + "\n\n" + prose, prose.replace(".\n", ". "), prose + "\n" + tables, tables,
        prose.replace(" and ", " and then and then "), prose.replace("\n", "\n\n") + "\n- a\n- b\n- c", prose.upper(),
        "", " ", "\n\n", "word", SENTENCE, whole, whole.replace("\n", "\r\n"), whole.replace("\n", "\n\n"),
        whole.replace("\n", "\u2028"), whole.replace(" ", "\u00a0"), whole.replace(" ", "\t"), whole.replace("\n", " "),
        whole + "\n" + whole, "\n\n".join([whole] * 3), "\n".join([SENTENCE] * 10), whole + "\n#" * 30,
        "\n".join("- " + line for line in varied), "\n".join("• " + line for line in varied),
        "\n".join(line[:-1] + "..." for line in varied), "\n".join(line[:-1] + "…" for line in varied),
        whole.replace("the", "xyz").replace("to", "qq").replace("of", "ww").replace("and", "ee"),
        whole + "\nSome {bracket} is here, as it is to be.", whole + "\nLorem ipsum dolor sit amet.",
        whole + "\nPlease enable JavaScript to see the page.", whole + "\nWe use cookies to make the site better.",
        whole + "\nRead our Privacy Policy before you go on.", "\n".join(line[:-1] + " [12]." for line in varied),
        "\n".join(line + "[citation needed]" for line in varied), "\n".join(line + " [edit]" for line in varied),
        "\n".join(varied[:4]), "\n".join(varied[:5]), whole + "\n" + "x" * 1001 + " is a long word.",
        "\n".join(line[:25] for line in varied), "\n".join(line[:-1] for line in varied), "=-" * 200, "!?" * 300,
        "1 2 3 4 5 6 7 8 9 10 " * 10, "a b c d e f g " * 20, "\U0001f600 \U0001f680 " * 60,
        "I can't, won't, shouldn't've; they're Dr. Smith's U.S. friends (e.g. Mr. O'Neil) at 5km/h, 10% off, $5.50, "
        "well-known state-of-the-art e-mail@example.com https://example.com/a-b?c=d. " * 3,
        "She said: \u201cDon\u2019t!\u201d \u2014 and left... Then (perhaps) 3:30p.m. came; 7am. Gonna be :-) or :( fine. " * 4,
        "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u73a9\u3002" * 12,
        "He wrote it.He left.She stayed, etc.And so on and/or w/o more a.b.c. 1.2.3 v2.0 x+y=z 2+2=4 3-4 5--6 a--b. " * 3,
        "First sentence. Second one! Third? Fourth... Fifth \"quoted.\" Sixth 'too.' And (seventh.) Eighth", "....", "a . b . c",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--language", default="eng")
    parser.add_argument("--ours", help="what the example filters_verdicts printed for the same file")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--documents", nargs="+", metavar="PATH")
    parser.add_argument("--fixture", action="store_true")
    options = parser.parse_args()
    if options.documents:
        return documents(options.documents)
    filters = filters_of(options.language)
    if options.fixture:
        lines = [{"input": text, **verdicts(filters, text)} for text in own_texts()]
        return print("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]")
    texts = texts_of(options.file)
    if options.speed:
        return speed(texts, filters)
    if options.ours:
        with open(options.ours, encoding="utf-8", newline="\n") as lines:
            return compare(texts, filters, [json.loads(line) for line in lines])
    for text in texts:
        print(json.dumps(verdicts(filters, text), ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
