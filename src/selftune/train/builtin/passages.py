"""Train how to choose among trained answers: a learned mix of four kinds of nearness.

Each row is answered by the other rows; an answer is the better, the more rare words it shares with
the row's own. Four weights are learned, so a few epochs over a hundred rows are enough, and the
encoder stays as it is: tuning it on such files did not help (docs/log.md).
"""

import numpy as np

from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.heads import softmax
from selftune.models.builtin.weights import Arrays
from selftune.models.builtin.words import Bm25, words
from selftune.models.tokens import encode
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.task import Plan, Scores, overlap

FIRST_MIX = np.array([0.2, 0.8, 0.5, 0.0]) * 20
"""Question, answer, words of both, words of the answer: the best of a grid when each row of the
policy training file was answered by the others (docs/log.md)."""
RATE = 0.1
_SHARPNESS = 0.1


class PassageTask:
    """A `Task` for free answers."""

    def __init__(self, examples: Examples, encoder: Encoder) -> None:
        self._examples, self._encoder = examples, encoder
        pieces = split_pieces(examples.texts, examples.reading.pieces)
        self.lengths = [len(piece.ids) for piece in pieces]
        self._questions = encoder.embed_pieces(pieces)
        self._answers = encoder.embed(examples.targets)
        self._documents = [
            f"{text}\n{target}"
            for text, target in zip(examples.texts, examples.targets, strict=True)
        ]
        self._by_both, self._by_answer = Bm25(self._documents), Bm25(examples.targets)
        self._wanted = self._shared_words()
        self._mix = FIRST_MIX.copy()

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return how well it was answered before."""
        columns = self._columns([self._examples.texts[row] for row in rows], self._questions[rows])
        scores = columns @ self._mix
        scores[np.arange(len(rows)), rows] = -1e9  # a row does not answer itself
        probabilities = softmax(scores)
        wanted = self._wanted[rows]
        loss = -(wanted * np.log(probabilities + 1e-12)).sum(1).mean()
        gradient = ((probabilities - wanted)[:, :, None] * columns).sum(1).mean(0)
        rate = RATE * plan.learning_rate_multiplier * plan.rate(index)
        self._mix = np.maximum(self._mix - rate * gradient, 0.0)
        best = scores.argmax(1)
        return Scores(float(loss), self._token_accuracy(best.tolist(), rows))

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Answer rows that are not learned from."""
        pieces = split_pieces(texts, self._examples.reading.pieces)
        columns = self._columns(texts, self._encoder.embed_pieces(pieces))
        probabilities = softmax(columns @ self._mix)
        nearest = self._encoder.embed(targets) @ self._answers.T
        wanted = softmax(nearest / _SHARPNESS)
        loss = -(wanted * np.log(probabilities + 1e-12)).sum(1).mean()
        accuracies = [
            overlap(encode(self._examples.targets[int(best)]), encode(target))
            for best, target in zip(probabilities.argmax(1), targets, strict=True)
        ]
        return Scores(float(loss), float(np.mean(accuracies)))

    def files(self) -> ModelFiles:
        """Return the model as it stands."""
        arrays: Arrays = {
            "passages.questions": self._questions,
            "passages.answers": self._answers,
            "passages.owner": self._examples.answer_of,
            "passages.mix": self._mix.copy(),
        }
        return ModelFiles(
            kind="passages",
            reading=self._examples.reading,
            precision="float32",
            head=arrays,
            config={"answers": self._examples.answers, "documents": self._documents},
            encoder=None,
        )

    def state(self) -> Arrays:
        """Return all that resuming needs."""
        return {"mix": self._mix.copy()}

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        self._mix = state["mix"].copy()

    def _columns(self, texts: list[str], vectors: np.ndarray) -> np.ndarray:
        """Return the four kinds of nearness, shape (texts, rows of the training file, 4)."""
        both = np.stack([self._by_both.scores(text) for text in texts])
        answer = np.stack([self._by_answer.scores(text) for text in texts])
        near = (vectors @ self._questions.T, vectors @ self._answers.T)
        return np.stack([*near, both, answer], axis=2).astype(np.float64)

    def _shared_words(self) -> np.ndarray:
        """Return, for each row, how much of its answer's rare words each other answer has."""
        bags = [frozenset(words(target)) for target in self._examples.targets]
        counts: dict[str, int] = {}
        for bag in bags:
            for word in bag:
                counts[word] = counts.get(word, 0) + 1
        rarity = {word: np.log((len(bags) + 1) / count) for word, count in counts.items()}
        gains = np.full((len(bags), len(bags)), -1e9)
        for row, bag in enumerate(bags):
            total = sum(rarity[word] for word in bag) or 1.0
            for other, words_of_other in enumerate(bags):
                if other != row:
                    gains[row, other] = sum(rarity[w] for w in bag & words_of_other) / total
        return softmax(gains / _SHARPNESS)

    def _token_accuracy(self, best: list[int], rows: list[int]) -> float:
        targets = self._examples.targets
        pairs = zip(best, rows, strict=True)
        return float(np.mean([overlap(encode(targets[a]), encode(targets[b])) for a, b in pairs]))
