"""English words to draw from: the lists of the package wonderwords, from which RULER draws as well."""

import hashlib
from functools import lru_cache

from wonderwords import Defaults, RandomWord


def nouns() -> list[str]:
    """Return about 6 800 nouns, sorted; some have two words or a hyphen. The list is shared: do not change it."""
    return _listed(Defaults.NOUNS)


def adjectives() -> list[str]:
    """Return about 900 adjectives, sorted. The list is shared: do not change it."""
    return _listed(Defaults.ADJECTIVES)


def verbs() -> list[str]:
    """Return about 1 000 verbs, sorted. The list is shared: do not change it."""
    return _listed(Defaults.VERBS)


def digest() -> str:
    """Return a digest of all words: other words give other prompts, so it is a part of what identifies a run."""
    words = "\n".join("\n".join(listed) for listed in (nouns(), adjectives(), verbs()))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


@lru_cache
def _listed(part: Defaults) -> list[str]:
    return sorted({word.strip() for word in RandomWord(part=part).filter()} - {""})
