"""Small damage as people type it: the meaning stays, the characters change. Seeded, no teacher."""

import random
from collections.abc import Callable
from typing import Literal, get_args

Noise = Literal["typos", "case", "space", "punctuation"]
NOISES: tuple[Noise, ...] = get_args(Noise)
_LETTERS_PER_TYPO = 40
"""About one typing mistake in so many letters, and at least one."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: "".join(row[max(0, at - 1) : at] + row[at + 1 : at + 2])
    for row in _ROWS
    for at, letter in enumerate(row)
}
"""Letters beside each other on a keyboard."""
_MARKS = ".,;:!?"


def with_noise(text: str, noise: Noise, dice: random.Random) -> str:
    """Return the text with one kind of damage; unchanged where there is nothing to damage."""
    return _KINDS[noise](text, dice)


def _typos(text: str, dice: random.Random) -> str:
    """Swap, drop, double or mistype letters inside words; figures stay as they are."""
    letters = list(text)
    places = [at for at in range(1, len(text) - 1) if text[at - 1 : at + 2].isalpha()]
    for at in sorted(
        dice.sample(places, min(len(places), 1 + len(places) // _LETTERS_PER_TYPO)), reverse=True
    ):
        kind = dice.choice(("swap", "drop", "double", "neighbour"))
        if kind == "swap" and letters[at] != letters[at + 1]:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif kind == "double":
            letters.insert(at, letters[at])
        elif kind == "neighbour" and letters[at].lower() in _NEIGHBOURS:
            letters[at] = dice.choice(_NEIGHBOURS[letters[at].lower()])
        else:
            del letters[at]
    return "".join(letters)


def _case(text: str, dice: random.Random) -> str:
    changed = (text.lower(), text.upper(), text[:1].lower() + text[1:])
    return dice.choice([other for other in changed if other != text] or [text])


def _space(text: str, dice: random.Random) -> str:
    words = text.split(" ")
    if len(words) < 2:
        return dice.choice((f" {text}", f"{text} "))
    at = dice.randrange(1, len(words))
    separator = dice.choice(("  ", "\n", "\t"))
    return " ".join(words[:at]) + separator + " ".join(words[at:])


def _punctuation(text: str, dice: random.Random) -> str:
    """Drop marks at the ends of words, or add some at the end; decimal points stay."""
    bare = " ".join(word.rstrip(_MARKS) for word in text.split(" "))
    end = text.rstrip(_MARKS)
    changed = (bare, f"{end}!!", f"{end}...", f"{end}??" if "?" in text else f"{end},")
    return dice.choice([other for other in changed if other != text])


_KINDS: dict[Noise, Callable[[str, random.Random], str]] = {
    "typos": _typos,
    "case": _case,
    "space": _space,
    "punctuation": _punctuation,
}
