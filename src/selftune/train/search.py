"""Which hyperparameters to try next: a maintained optimiser over what was tried before.

Nothing is trained here, and nothing is kept: whoever asks tells all that was tried, and the same
history gives the same proposal, however often it is asked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selftune.core.errors import MissingExtra
from selftune.core.records import Hyperparameters, Record

if TYPE_CHECKING:
    import optuna

LEAST_EPOCHS, MOST_EPOCHS = 1, 10
MOST_BATCH = 64
LEAST_RATE, MOST_RATE = 0.1, 10.0
_STEPS_PER_EPOCH = 4
"""An epoch has so many steps or more: fewer are hardly a training."""
_FIRST_TRIALS = 6
"""Trials that are spread at random before the optimiser looks for a pattern."""
_ATTEMPTS = 20
"""How often a proposal that was tried already is thrown away, before nothing new is left."""
_DIGITS = 2


class Tried(Record):
    """One trial and how it ended."""

    asked: Hyperparameters
    error: float | None
    """On validation rows; less is better. None: it failed."""
    seconds: float


def require_optimiser() -> None:
    """Refuse to begin what could not be gone on with.

    Raises:
        MissingExtra: the optimiser is not installed.

    """
    _optuna()


def propose(tried: Sequence[Tried], rows: int, seed: int) -> Hyperparameters | None:
    """Return what to try next, or None when nothing new is found.

    Trials that left anything to the engine say nothing of numbers, and are not looked at: what
    `auto` does may be more than its numbers.

    Raises:
        MissingExtra: the optimiser is not installed.

    """
    optimiser = _optuna()
    asked = {one.asked for one in tried}
    for attempt in range(_ATTEMPTS):
        # Seeded anew for each trial: a search that goes on proposes what an unbroken one would.
        sampler = optimiser.samplers.TPESampler(
            seed=seed + _ATTEMPTS * len(tried) + attempt, n_startup_trials=_FIRST_TRIALS
        )
        study = optimiser.create_study(direction="minimize", sampler=sampler)
        space = _space(optimiser, rows)
        for one in tried:
            if _is_explicit(one.asked):
                study.add_trial(_told(optimiser, one, space))
        drawn = study.ask(space).params
        found = Hyperparameters(
            n_epochs=drawn["n_epochs"],
            batch_size=2 ** drawn["batch_power"],
            learning_rate_multiplier=float(f"{drawn['learning_rate_multiplier']:.{_DIGITS}g}"),
        )
        if found not in asked:
            return found
    return None


def expected_seconds(tried: Sequence[Tried], wanted: Hyperparameters) -> float | None:
    """Return how long a trial will probably take, from earlier ones; None before the first.

    A straight line through seconds by epochs, where two trials asked for different numbers of
    them; never less than the quickest. Else as long as the slowest so far.
    """
    if not tried:
        return None
    slowest, quickest = (pick(one.seconds for one in tried) for pick in (max, min))
    known = [(one.asked.n_epochs, one.seconds) for one in tried if one.asked.n_epochs != "auto"]
    if wanted.n_epochs == "auto" or len({epochs for epochs, _ in known}) < 2:
        return slowest
    pairs = [(float(epochs), seconds) for epochs, seconds in known]
    middle = sum(epochs for epochs, _ in pairs) / len(pairs)
    level = sum(seconds for _, seconds in pairs) / len(pairs)
    spread = sum((epochs - middle) ** 2 for epochs, _ in pairs)
    slope = sum((epochs - middle) * (seconds - level) for epochs, seconds in pairs) / spread
    return max(quickest, level + slope * (wanted.n_epochs - middle))


def _space(optimiser: Any, rows: int) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Return what may be proposed; batches are powers of two."""
    of = optimiser.distributions
    largest = max(1, min(MOST_BATCH, rows // _STEPS_PER_EPOCH))
    return {
        "n_epochs": of.IntDistribution(LEAST_EPOCHS, MOST_EPOCHS, log=True),
        "batch_power": of.IntDistribution(0, largest.bit_length() - 1),
        "learning_rate_multiplier": of.FloatDistribution(LEAST_RATE, MOST_RATE, log=True),
    }


def _is_explicit(asked: Hyperparameters) -> bool:
    """Return whether a trial stands inside the space: all numbers, the batch a power of two."""
    epochs, batch, rate = asked.n_epochs, asked.batch_size, asked.learning_rate_multiplier
    if epochs == "auto" or batch == "auto" or rate == "auto":
        return False
    is_power = batch & (batch - 1) == 0
    return (
        is_power
        and batch <= MOST_BATCH
        and LEAST_EPOCHS <= epochs <= MOST_EPOCHS
        and LEAST_RATE <= rate <= MOST_RATE
    )


def _told(
    optimiser: Any, one: Tried, space: "dict[str, optuna.distributions.BaseDistribution]"
) -> "optuna.trial.FrozenTrial":
    """Return a trial in the optimiser's words."""
    states = optimiser.trial.TrialState
    found: optuna.trial.FrozenTrial = optimiser.trial.create_trial(
        params={
            "n_epochs": one.asked.n_epochs,
            "batch_power": int(one.asked.batch_size).bit_length() - 1,
            "learning_rate_multiplier": one.asked.learning_rate_multiplier,
        },
        distributions=space,
        value=one.error,
        state=states.FAIL if one.error is None else states.COMPLETE,
    )
    return found


def _optuna() -> Any:
    """Return the optimiser's package; it is needed by nothing else."""
    try:
        import optuna
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "A search for hyperparameters needs optuna: pip install 'selftune[plan]'.",
            code="missing_extra",
        ) from missing
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
