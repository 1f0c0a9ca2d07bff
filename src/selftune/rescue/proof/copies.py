"""Prompts that are nearly the same: they may all fare alike, and then say less than as many others.

What is alike cannot be told for sure by words: a template in which only a name changes looks like a
copy. So a conclusion does not rest on it; where it would change the answer, that is said.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selftune.data.likeness.near import clusters
from selftune.data.likeness.questions import questions as texts_of
from selftune.evaluate.columns import Questions
from selftune.evaluate.items import Item


def without_copies(items: Sequence[Item], questions: Questions) -> tuple[Questions, int]:
    """Return questions of which near copies are a group, and how many are copies of others.

    Those of one conversation, which are a group already, go where its first one goes.
    """
    first = clusters(texts_of([{"messages": list(item.messages)} for item in items]))
    of_chats: dict[str, int] = {}
    groups = [
        near if item.group is None else of_chats.setdefault(item.group, near)
        for item, near in zip(items, first, strict=True)
    ]
    known = len(items) if questions.group is None else len(np.unique(questions.group))
    return replace(questions, group=np.array(groups, np.int64)), known - len(set(groups))
