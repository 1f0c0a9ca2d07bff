"""Everything that is looked for inside texts: secrets, personal data, damage."""

from collections.abc import Sequence

from selftune.data.findings.damage import damage_in
from selftune.data.findings.finding import Finding, join
from selftune.data.findings.personal import personal_in
from selftune.data.findings.secrets import secrets_in


def find_content(texts: Sequence[str]) -> list[Finding]:
    """Return every secret, piece of personal data and damage in texts, in their order.

    It costs least with about a megabyte of texts at a time.
    """
    joined = join(texts)
    return sorted([*secrets_in(joined), *personal_in(joined), *damage_in(joined)])
