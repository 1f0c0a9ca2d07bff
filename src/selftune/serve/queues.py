"""Requests that wait, by model; the models take turns."""

from collections import OrderedDict, deque

from selftune.serve.answering import Asked, Caller
from selftune.serve.frames import SampleRequest
from selftune.serve.loader import Key


class Queues:
    """Requests in the order in which they came, for each model."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Key, deque[Asked]] = OrderedDict()
        self.count = 0

    @property
    def keys(self) -> list[Key]:
        """Models that are waited for, the next one first."""
        return list(self._queues)

    def add(self, *asked: Asked) -> None:
        """Let requests wait."""
        for each in asked:
            self._queues.setdefault(each.key, deque()).append(each)
        self.count += len(asked)

    def pop(self, key: Key) -> list[Asked]:
        """Take all that wait for a model."""
        found = self._queues.pop(key, deque())
        self.count -= len(found)
        return list(found)

    def pop_chats(self, key: Key) -> list[Asked]:
        """Take all that wait for a model, but what is to be embedded."""
        waiting = self._queues[key]
        if all(isinstance(asked.work, SampleRequest) for asked in waiting):
            return self.pop(key)
        return self._remove(
            key, [asked for asked in waiting if isinstance(asked.work, SampleRequest)]
        )

    def pop_batch(self, most: int) -> list[Asked]:
        """Take what waits for the model whose turn it is, which goes last where more is left."""
        if not self._queues:
            return []
        key, queue = self._queues.popitem(last=False)
        batch = [queue.popleft() for _ in range(min(len(queue), most))]
        if queue:
            self._queues[key] = queue
        self.count -= len(batch)
        return batch

    def drop(self, caller: Caller, number: int | None = None) -> bool:
        """Forget one of a caller's requests, or all; return whether there were any."""
        before = self.count
        for key, queue in list(self._queues.items()):
            self._remove(
                key,
                [
                    asked
                    for asked in queue
                    if asked.caller is caller and number in (None, asked.work.id)
                ],
            )
        return self.count < before

    def remove(self, asked: Asked) -> bool:
        """Forget a request; return whether it waited."""
        return bool(asked.key in self._queues and self.drop(asked.caller, asked.work.id))

    def _remove(self, key: Key, found: list[Asked]) -> list[Asked]:
        if found:
            names = {id(asked) for asked in found}
            kept = deque(asked for asked in self._queues[key] if id(asked) not in names)
            self.count -= len(found)
            if kept:
                self._queues[key] = kept
            else:
                del self._queues[key]
        return found
