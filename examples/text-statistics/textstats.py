"""What is counted, and what counts as a word, a sentence and an entry."""

import re
from collections import Counter

WORD = re.compile(r"[a-z]+")
#: A sentence ends at its punctuation, closing quotes and brackets included, before white space.
SENTENCE_END = re.compile(r"""[.!?]+["')\]]*(?=\s|$)""")
#: `ABDICATION, n.` at the start of a line: a headword in capitals and its kind.
ENTRY = re.compile(r"^[A-Z][A-Z' -]*, (n|adj|adv|pp|v\.t|v\.i|v)\.", re.MULTILINE)


def statistics_of(content: bytes, top: int) -> dict:
    text = content.decode("utf-8")
    words = Counter(WORD.findall(text.lower()))
    sentences = sum(1 for _ in SENTENCE_END.finditer(text))
    kinds = Counter(ENTRY.findall(text))
    # Ties in alphabetical order, so that the answer does not depend on the order in the book.
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return {
        "bytes": len(content),
        "lines": text.count("\n"),
        "tokens": len(text.split()),
        "words": words.total(),
        "different_words": len(words),
        "words_used_once": sum(1 for count in words.values() if count == 1),
        "sentences": sentences,
        "words_per_sentence": round(words.total() / sentences, 2),
        "most_frequent": ranked[:top],
        "entries": kinds.total(),
        "entries_by_kind": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
    }
