"""What evals and graders of a job stand on: models of this machine, and those its owner has named."""

from dataclasses import replace

from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.records import Identity
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.task import Backing
from selftune.models.endpoint import Endpoint
from selftune.models.endpoints import Endpoints, load_endpoints
from selftune.prove.home import Home
from selftune.serve.upstream import upstream_endpoint
from selftune.store.store import Store


def backing_of(store: Store, caller: Identity) -> Backing:
    """Return it for one caller's job.

    Raises:
        JobFailed: the home's endpoints cannot be read.

    """
    try:
        endpoints = endpoints_of(store)
    except InvalidInput as error:
        raise JobFailed(error.message) from error

    def place(model: str) -> Endpoint | None:
        # A server asks nobody that its owner has not named, whatever keys are in its environment.
        return endpoints.find(model) or upstream_endpoint(store, caller, model)

    return replace(Home(store.settings, store, caller).backing(Limits()), place=place)


def endpoints_of(store: Store) -> Endpoints:
    """Return the endpoints that the owner has named.

    Raises:
        InvalidInput: they cannot be read; said as callers may read it.

    """
    try:
        return load_endpoints(store.root)
    except InvalidInput as error:
        raise InvalidInput(store.told(error.message)) from error
