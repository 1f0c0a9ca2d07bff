"""Which texts are new: not in what exists, not among themselves, nearly alike counting as alike."""

from collections.abc import Iterable, Sequence

from selftune.data.likeness.near import near_pairs, near_pairs_between
from selftune.data.likeness.words import normal_form


class Novelty:
    """Texts that exist. What is sifted and found new exists from then on."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = {normal_form(text): text for text in texts}

    def sift(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it is new; of texts that are nearly alike, the first is."""
        forms = [normal_form(text) for text in texts]
        first: dict[str, str] = {}
        for form, text in zip(forms, texts, strict=True):
            if form not in self._texts:
                first.setdefault(form, text)
        new = self._without_near(first)
        self._texts.update(new)
        found = []
        for form in forms:
            found.append(new.pop(form, None) is not None)
        return found

    def holds(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it, or nearly it, exists; nothing is added."""
        forms = {normal_form(text): text for text in texts}
        far = {form: text for form, text in forms.items() if form not in self._texts}
        near = self._near_known(list(far.values()))
        held = {form for form, is_near in zip(far, near, strict=True) if is_near}
        return [form in self._texts or form in held for form in map(normal_form, texts)]

    def _without_near(self, candidates: dict[str, str]) -> dict[str, str]:
        near = self._near_known(list(candidates.values()))
        far = [form for form, is_near in zip(candidates, near, strict=True) if not is_near]
        later = {pair.second for pair in near_pairs([candidates[form] for form in far])}
        return {form: candidates[form] for at, form in enumerate(far) if at not in later}

    def _near_known(self, texts: Sequence[str]) -> list[bool]:
        if not texts or not self._texts:
            return [False] * len(texts)
        near = {pair.first for pair in near_pairs_between(texts, list(self._texts.values()))}
        return [at in near for at in range(len(texts))]
