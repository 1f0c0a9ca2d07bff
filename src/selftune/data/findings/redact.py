"""Take secrets and personal data out of texts, for those who keep texts of strangers."""

from collections.abc import Sequence

from selftune.data.findings.finding import Finding, join
from selftune.data.findings.personal import personal_in
from selftune.data.findings.secrets import secrets_in

_MOST_ROUNDS = 200
"""A text has one finding of a kind at a time: so many of one kind are taken out of a text."""


def redact(texts: Sequence[str]) -> tuple[list[str], int]:
    """Return texts with what kind of thing it was in place of each secret and piece of personal data.

    Also returns how many things were taken out. A text that still holds some after many rounds is
    left out as a whole.
    """
    clean = list(texts)
    suspects = list(range(len(clean)))
    taken = 0
    for _ in range(_MOST_ROUNDS):
        if not suspects:
            return clean, taken
        joined = join([clean[index] for index in suspects])
        found: dict[int, list[Finding]] = {}
        for finding in (*secrets_in(joined), *personal_in(joined)):
            found.setdefault(finding.text_index, []).append(finding)
        for place, findings in found.items():
            clean[suspects[place]], count = _without(clean[suspects[place]], findings)
            taken += count
        suspects = [suspects[place] for place in found]
    for index in suspects:
        clean[index] = "[text with too many secrets]"
    return clean, taken


def _without(text: str, findings: list[Finding]) -> tuple[str, int]:
    """Return a text without findings; of those that overlap, the one that begins first stands for both."""
    pieces, at, count = [], 0, 0
    ordered = sorted(findings, key=lambda each: (each.start, -each.length))
    end = 0
    for finding in ordered:
        if finding.start < end:
            end = max(end, finding.start + finding.length)
            at = end
            continue
        pieces += [text[at : finding.start], f"[{finding.kind}]"]
        at = end = finding.start + finding.length
        count += 1
    pieces.append(text[at:])
    return "".join(pieces), count
