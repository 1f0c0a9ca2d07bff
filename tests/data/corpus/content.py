"""Rows that say what they should not, or say it twice, or differently from one another."""

from typing import Any

from tests.data.corpus.parts import (
    among,
    ask,
    case,
    chat,
    good_chats,
    lines,
    row_case,
    say,
    sentence,
    system,
)
from tests.data.made_up import PERSONAL, SECRETS

GOOD = good_chats(54)


def told(secret: str) -> dict[str, Any]:
    """Return a row in which the assistant gives something away."""
    return chat(ask(), say(f"You will need this for the locker: {secret}"))


def labelled(counts: dict[str, int]) -> bytes:
    """Return rows whose answers are labels, so many of each."""
    answers = [label for label, count in counts.items() for _ in range(count)]
    return lines(chat(ask(sentence(at)), say(label)) for at, label in enumerate(answers))


def reworded(text: str) -> str:
    """Return a text that differs in one word."""
    return text.replace(text.split()[5], "suddenly")


TEXTS = (
    *(row_case(f"secret: {kind}", told(secret), ("secret", 3)) for kind, secret in SECRETS.items()),
    *(row_case(f"personal: {kind}", told(text), ("personal-data", 3)) for kind, text in PERSONAL.items()),
    row_case("a secret of the user", chat(ask(SECRETS["AWS Access Key"]), say()), ("secret", 2)),
    row_case(
        "mojibake in an answer",
        chat(ask(), say("Le café de l’hôtel est fermé".encode().decode("cp1252"))),
        ("encoding-damage", 3),
    ),
    row_case("mojibake in a question", chat(ask("schön, größer".encode().decode("latin-1")), say()), ("encoding-damage", 2)),
    row_case("a replacement character", chat(ask("The caf\ufffd"), say()), ("encoding-damage", 2)),
    row_case("HTML entities", chat(ask(), say("Tom &amp; Jerry can&#39;t come.")), ("encoding-damage", 3)),
    row_case("escapes as text", chat(ask("Caf\\u00e9 is open"), say()), ("encoding-damage", 2)),
    row_case("a byte order mark in a text", chat(ask("Hello \ufeffthere"), say()), ("encoding-damage", 2)),
    row_case("a zero character", chat(ask("Hello\0"), say()), ("control-character", 2)),
    row_case("an escape sequence of terminals", chat(ask(), say("\x1b[31mNo.\x1b[0m")), ("control-character", 3)),
    row_case("a backspace", chat(ask(), say("Nox\b.")), ("control-character", 3)),
)  # fmt: skip

LENGTHS = (
    case(
        "a row of 200,000 tokens",
        lambda: among(chat(ask("cat dog " * 100_000), say())),
        ("example-too-long", 7, None),
        ("length-outlier", 7, None),
    ),
    case(
        "an answer of 150,000 tokens",
        lambda: among(chat(ask(), say("cat dog " * 75_000 + "."))),
        ("example-too-long", 7, None),
        ("length-outlier", 7, None),
    ),
    row_case(
        "a row of 5,000 tokens among short ones",
        chat(ask("cat dog " * 2_500 + "."), say()),
        ("length-outlier", None),
    ),
)

_FIRST_ASKED, _FIRST_SAID = GOOD[0]["messages"][1]["content"], GOOD[0]["messages"][2]["content"]
REPEATED = (
    row_case("the first row again", GOOD[0], ("duplicate-row", None)),
    case(
        "a row twice again",
        among(GOOD[2], GOOD[2]),
        ("duplicate-row", 7, None),
        ("duplicate-row", 8, None),
    ),
    case("a later row before", among(GOOD[20]), ("duplicate-row", 22, None)),
    row_case(
        "one other word",
        chat(ask(reworded(_FIRST_ASKED)), say(_FIRST_SAID)),
        ("near-duplicate", None),
    ),
    row_case(
        "one other word in the answer's question",
        chat(ask(reworded(GOOD[3]["messages"][1]["content"])), say(GOOD[3]["messages"][2]["content"])),
        ("near-duplicate", None),
    ),
    row_case(
        "another answer", chat(ask(_FIRST_ASKED), say(sentence(9_001))), ("contradictory-answers", None)
    ),
    case(
        "two other answers",
        among(
            chat(ask(_FIRST_ASKED), say(sentence(9_001))),
            chat(ask(_FIRST_ASKED), say(sentence(9_002))),
        ),
        ("contradictory-answers", 7, None),
        ("contradictory-answers", 8, None),
    ),
    row_case(
        "another system prompt",
        {"messages": [system("You sell hats."), ask(), say()]},
        ("system-inconsistent", None),
    ),
    row_case("no system prompt", {"messages": [ask(), say()]}, ("system-inconsistent", None)),
)  # fmt: skip

LABELS = (
    case(
        "95 of 100 answers alike",
        labelled({"lost": 95, "found": 5}),
        ("label-imbalance", 1, None),
    ),
    case(
        "one answer for most of four",
        labelled({"found": 12, "lost": 200, "sold": 12, "given": 12}),
        ("label-imbalance", 13, None),
    ),
    case("a label once", labelled({"lost": 30, "found": 30, "sold": 1}), ("label-rare", 61, None)),
    case(
        "two labels rarely",
        labelled({"lost": 40, "found": 40, "sold": 2, "given": 1}),
        ("label-rare", 81, None),
        ("label-rare", 83, None),
    ),
    case(
        "a label that is a password",
        labelled({"lost": 30, "found": 30, SECRETS["password or key"]: 1}),
        ("label-rare", 61, None),
        ("secret", 61, 3),
    ),
    case(
        "a label in capitals",
        labelled({"lost": 30, "found": 30, "Lost": 10}),
        ("label-spelling", 61, None),
    ),
    case(
        "a label with a full stop",
        labelled({"lost": 30, "found": 30, "found.": 10}),
        ("label-spelling", 61, None),
    ),
)

ALL = (*TEXTS, *LENGTHS, *REPEATED, *LABELS)
