"""Prints crates/corpus/src/quality/tables.rs: the classes of characters that spaCy and datatrove decide by.

    pip install datatrove==0.10.1 spacy
    python benches/peers/character_tables.py > crates/corpus/src/quality/tables.rs
"""

import re
import unicodedata

from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from spacy.lang import char_classes
from spacy.pipeline import Sentencizer

HEAD = """//! Classes of characters beyond ASCII, as sorted ranges with both ends in them.
//!
//! They are spaCy's and datatrove's, because verdicts depend on them; `benches/peers/character_tables.py` prints this file.
"""


def ranges(belongs):
    """Ranges of the characters beyond ASCII for which `belongs` is true."""
    found, start = [], None
    for code in range(0x80, 0x110000):
        inside = not 0xD800 <= code < 0xE000 and bool(belongs(chr(code)))
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            found.append((start, code - 1))
            start = None
    return found


def literal(code):
    return f"0x{code:X}" if code < 0x10000 else f"0x{code >> 16:X}_{code & 0xFFFF:04X}"


def table(name, documentation, belongs):
    print(f"\n/// {documentation}\npub(super) static {name}: &[(u32, u32)] = &[")
    line = "   "
    for first, last in ranges(belongs):
        item = f" ({literal(first)}, {literal(last)}),"
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(f"{line}\n];")


def characters(entries):
    return {entry[-1] for entry in entries if entry.strip()}


alphabet = re.compile(f"[{char_classes.ALPHA}]").match
lower = re.compile(f"[{char_classes.ALPHA_LOWER}]").match
upper = re.compile(f"[{char_classes.ALPHA_UPPER}]").match
icons = re.compile(f"[{char_classes.ICONS}]").match
quotes = characters(char_classes.LIST_QUOTES)
affixes = characters(char_classes.LIST_PUNCT) | quotes
currency = characters(char_classes.LIST_CURRENCY)
sentence_ends = set(Sentencizer.default_punct_chars)

print(HEAD, end="")
table("ALPHA", "Letters, of the scripts that the rules for words know.", alphabet)
table("UNCASED", "Letters that are neither capital nor small; they count as both.", lambda c: lower(c) and upper(c))
table("ICONS", "Symbols and emoji that are words of their own.", icons)
table("AFFIXES", "Punctuation and quotes that leave a word at both of its ends.", lambda c: c in affixes)
table("QUOTES", "The quotes of [`AFFIXES`].", lambda c: c in quotes)
table("CURRENCY", "Signs of money.", lambda c: c in currency)
table("PUNCTUATION", "Unicode category P.", lambda c: unicodedata.category(c)[0] == "P")
table("TERMINAL", "What may end a line, in the scripts of the world.", lambda c: c in TERMINAL_PUNCTUATION)
table("NO_SENTENCE_END", "Of [`TERMINAL`], what ends no sentence.", lambda c: c in TERMINAL_PUNCTUATION - sentence_ends)
table("SYMBOLS", "With [`TERMINAL`], what words of symbols only are made of.", lambda c: c in PUNCTUATION_SET - TERMINAL_PUNCTUATION)
