"""Who answers for a model, and what that costs: models of this machine, endpoints, prices."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from selftune.core.records import Identity
from selftune.core.settings import Settings
from selftune.evaluate.arms import Answerer
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.task import Backing
from selftune.models.bases import is_here
from selftune.models.catalog import catalog
from selftune.models.chosen import catalog_of
from selftune.models.endpoint import Endpoint
from selftune.models.listed import is_tuned
from selftune.models.prices import FREE, Prices, Rates, load

if TYPE_CHECKING:
    from selftune.models.endpoints import Endpoints
    from selftune.models.sampler import Sampler
    from selftune.serve.resolve import Served
    from selftune.store.store import Store


class Home:
    """Models, endpoints and prices of a home folder; its database is opened when it is needed."""

    def __init__(
        self,
        settings: Settings,
        store: "Store | None" = None,
        identity: Identity | None = None,
    ) -> None:
        self.settings = settings
        self._given = store
        self._caller = identity

    @cached_property
    def store(self) -> "Store":
        """The database and what belongs to it."""
        from selftune.store.store import open_store

        return self._given or open_store(self.settings)

    @cached_property
    def identity(self) -> Identity:
        """Whose models are asked."""
        from selftune.store.accounts import default_identity

        return self._caller or default_identity(self.store)

    @cached_property
    def prices(self) -> Prices:
        """What models cost."""
        return load(Path(self.settings.prices) if self.settings.prices else None)

    @cached_property
    def endpoints(self) -> "Endpoints":
        """Which models are answered elsewhere."""
        from selftune.models.endpoints import load_endpoints

        return load_endpoints(self.settings.root)

    def place(self, model: str) -> Endpoint | None:
        """Return where a model answers; None is this machine.

        What `endpoints.toml` names comes first, then this machine's models, then OpenAI or what
        `OPENAI_BASE_URL` says.
        """
        found = self.endpoints.find(model)
        if found is not None or is_tuned(model):
            return found
        known = catalog_of(self.settings)
        name = known.answering(model)
        base = known.find(name)
        if is_tuned(name) or (base is not None and is_here(base, self.settings.root)):
            return None
        return Endpoint(model=model)

    def find(self, model: str) -> "Served":
        """Return a model of this machine.

        Raises:
            NotFound: there is none of this name.

        """
        from selftune.serve.resolve import resolve

        return resolve(self.store, self.identity, model)

    def rates(self, model: str, endpoint: Endpoint | None) -> Rates | None:
        """Return what a model's tokens cost at an endpoint, or None where nothing is known.

        A model of this machine costs nothing, whatever it is called.
        """
        if endpoint is None:
            return FREE
        price = self.prices.find(model)
        return None if price is None else price.rates(model)

    def open(
        self, model: str, endpoint: Endpoint | None, limits: Limits
    ) -> AbstractAsyncContextManager[Answerer]:
        """Open what answers for a model."""
        if endpoint is None:
            from selftune.evaluate.in_process import InProcess

            return InProcess(lambda: self._sampler(model))
        from selftune.models.asking import Asking
        from selftune.models.asking import Limits as AskingLimits

        patience = AskingLimits(
            concurrency=limits.concurrency,
            attempts=limits.attempts,
            timeout_seconds=limits.timeout_seconds,
            stream=limits.stream,
        )
        return Asking(endpoint, patience)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return vectors of texts, by the embedded encoder."""
        vectors, _ = self._encoder.embed(texts)
        found: Sequence[Sequence[float]] = vectors.tolist()
        return found

    @cached_property
    def _encoder(self) -> "Sampler":
        return self._sampler(catalog().base[0].id)

    def _sampler(self, model: str) -> "Sampler":
        from selftune.serve.loader import load_sampler

        found = self.find(model)
        root, threads = self.settings.root, self.settings.threads
        return load_sampler(root, found.engine, found.folder, threads=threads)

    def backing(self, limits: Limits) -> Backing:
        """Return what a run stands on."""
        return Backing(
            open=lambda model, endpoint: self.open(model, endpoint, limits),
            place=self.place,
            rates_of=self.rates,
            embed=self.embed,
        )
