"""Train a softmax over groups of answers, on a frozen encoder or with a tuned one."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.weights import WIDTH, Arrays
from selftune.models.builtin.words import buckets, features, inverse_frequencies
from selftune.models.tokens import encode
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.network import EncoderNetwork, pad
from selftune.train.builtin.optimizer import optimizer_state, restore_optimizer, under
from selftune.train.builtin.task import Plan, Scores, overlap

SCALE = 20.0
"""Of cosines before the softmax; learned from there."""
ENCODER_RATE, HEAD_RATE, FROZEN_RATE = 1e-4, 2e-3, 2e-2
DECAY = 0.01
_GRADIENT_NORM = 1.0


class LabelTask:
    """A `Task` for closed answers."""

    def __init__(
        self, examples: Examples, encoder: Encoder, network: EncoderNetwork | None, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self._examples, self._encoder, self._network = examples, encoder, network
        pieces = split_pieces(examples.texts, examples.reading.pieces)
        self._ids = [piece.ids for piece in pieces]
        self.lengths = [len(ids) for ids in self._ids]
        self._targets = torch.from_numpy(examples.row_groups)
        self._alike = torch.from_numpy(examples.alike())
        self._paths = [encode(answer) for answer in self._typical()]
        vectors = encoder.embed_pieces(pieces)
        self._frequencies = inverse_frequencies([buckets(text) for text in examples.texts])
        self._features = torch.from_numpy(features(vectors, examples.texts, self._frequencies))
        self._head = nn.Parameter(self._first_head(vectors))
        self._bias = nn.Parameter(torch.zeros(examples.groups))
        self._scale = nn.Parameter(torch.tensor(SCALE if network is not None else 1.0))
        self._optimizer = self._make_optimizer()
        self._rates = [group["lr"] for group in self._optimizer.param_groups]

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return how well it was answered before."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * plan.rate(index) * plan.learning_rate_multiplier
        logits = self._logits(rows)
        targets = self._targets[rows]
        loss = functional.cross_entropy(logits, self._alike[targets])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        self._optimizer.step()
        return Scores(loss.item(), self._token_accuracy(logits.argmax(1), targets))

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Answer rows that are not learned from."""
        group_of = dict(zip(self._examples.answers, self._examples.group_of, strict=True))
        logits = self.predict(texts)
        losses, accuracies = [], []
        for row, target in zip(logits, targets, strict=True):
            best = self._paths[int(row.argmax())]
            accuracies.append(overlap(best, encode(target)))
            if target in group_of:
                wanted = self._alike[int(group_of[target])]
                losses.append(float(functional.cross_entropy(row, wanted)))
        return Scores(float(np.mean(losses)) if losses else 0.0, float(np.mean(accuracies)))

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> Tensor:
        """Return logits over groups."""
        pieces = split_pieces(texts, self._examples.reading.pieces)
        if self._network is None:
            vectors = self._encoder.embed_pieces(pieces)
            wide = features(vectors, texts, self._frequencies)
            return torch.from_numpy(wide) @ self._head.T + self._bias
        self._network.eval()
        found = [self._cosines(self._network(*pad([piece.ids]))) for piece in pieces]
        self._network.train()
        return torch.cat(found)

    def files(self) -> ModelFiles:
        """Return the model as it stands."""
        examples = self._examples
        head = self._head.detach()
        if self._network is not None:
            head = functional.normalize(head, dim=1)
        counts = np.bincount(examples.answer_of, minlength=len(examples.answers))
        totals = np.bincount(examples.group_of, weights=counts, minlength=examples.groups)
        arrays: Arrays = {
            "head.weight": np.ascontiguousarray(head.numpy()),
            "head.bias": self._bias.detach().numpy().copy(),
            "head.scale": np.array([float(self._scale.detach())], np.float32),
            "head.frequencies": self._frequencies,
            "answers.group": examples.group_of,
            "answers.share": (counts / totals[examples.group_of]).astype(np.float32),
        }
        return ModelFiles(
            kind="labels",
            reading=examples.reading,
            precision="float32",
            head=arrays,
            config={"answers": examples.answers},
            encoder=None if self._network is None else self._network.tuned(),
        )

    def state(self) -> Arrays:
        """Return all that resuming needs."""
        kept: dict[str, Tensor] = {"head": self._head, "bias": self._bias, "scale": self._scale}
        if self._network is not None:
            kept |= {f"network.{k}": v for k, v in self._network.layers.state_dict().items()}
        kept |= optimizer_state(self._optimizer)
        kept["random"] = torch.get_rng_state()
        return {name: value.detach().numpy().copy() for name, value in kept.items()}

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        with torch.no_grad():
            self._head.copy_(tensors["head"])
            self._bias.copy_(tensors["bias"])
            self._scale.copy_(tensors["scale"])
        if self._network is not None:
            self._network.layers.load_state_dict(under(tensors, "network."))
        restore_optimizer(self._optimizer, tensors)
        torch.set_rng_state(tensors["random"])

    def _logits(self, rows: list[int]) -> Tensor:
        if self._network is None:
            return self._features[rows] @ self._head.T + self._bias
        self._network.train()
        return self._cosines(self._network(*pad([self._ids[row] for row in rows])))

    def _cosines(self, vectors: Tensor) -> Tensor:
        return self._scale * (vectors @ functional.normalize(self._head, dim=1).T) + self._bias

    def _first_head(self, vectors: np.ndarray) -> Tensor:
        """Start from what is known: the mean of each group's rows, and what its answer says."""
        examples = self._examples
        wide = vectors if self._network is not None else self._features.numpy()
        sums = np.zeros((examples.groups, wide.shape[1]), np.float32)
        np.add.at(sums, examples.row_groups, wide)
        head = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        names = [examples.group_text(group) for group in range(examples.groups)]
        says = np.array([any(c.isalpha() for c in name) for name in names], np.float32)
        head[:, :WIDTH] += says[:, None] * self._encoder.embed(names)
        head /= np.maximum(np.linalg.norm(head, axis=1, keepdims=True), 1e-12)
        return torch.from_numpy(head if self._network is not None else SCALE * head)

    def _make_optimizer(self) -> torch.optim.AdamW:
        if self._network is None:
            return torch.optim.AdamW([self._head, self._bias], lr=FROZEN_RATE, weight_decay=0.0)
        groups = [
            {"params": list(self._network.layers.parameters()), "lr": ENCODER_RATE},
            {"params": [self._head, self._bias], "lr": HEAD_RATE, "weight_decay": 0.0},
            {"params": [self._scale], "lr": 10 * HEAD_RATE, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=ENCODER_RATE, weight_decay=DECAY)

    def _typical(self) -> list[str]:
        """Return the likeliest answer of each group."""
        counts = np.bincount(self._examples.answer_of, minlength=len(self._examples.answers))
        typical = []
        for group in range(self._examples.groups):
            members = np.flatnonzero(self._examples.group_of == group)
            typical.append(self._examples.answers[int(members[counts[members].argmax()])])
        return typical

    def _token_accuracy(self, best: Tensor, wanted: Tensor) -> float:
        pairs = zip(best.tolist(), wanted.tolist(), strict=True)
        return float(np.mean([overlap(self._paths[a], self._paths[b]) for a, b in pairs]))
