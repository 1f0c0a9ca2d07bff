"""Webhooks reach their endpoint, signed, at least once, with growing pauses."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest
from tests.conftest import OpenStore

from selftune.core.errors import InvalidInput, NotFound
from selftune.serve.webhooks import PAUSES_SECONDS, deliver_due
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.store import Store
from selftune.store.webhooks import add_endpoint, list_endpoints, publish, remove_endpoint


class Receiver:
    """An endpoint that answers with the next of its statuses, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((headers, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("location", receiver.url)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def announce(store: Store, project_id: str = DEFAULT_PROJECT) -> None:
    with store.db.write() as connection:
        publish(
            store,
            connection,
            project_id=project_id,
            kind="fine_tuning.job.succeeded",
            object_id="ftjob-1",
        )


def test_the_official_client_unwraps_what_arrives(any_store: Store, receiver: Receiver) -> None:
    endpoint = add_endpoint(any_store, DEFAULT_PROJECT, receiver.url)
    announce(any_store)
    deliver_due(any_store)
    ((headers, body),) = receiver.got
    client = openai.OpenAI(api_key="x", webhook_secret=endpoint.secret)
    event = client.webhooks.unwrap(body, headers)
    assert event.type == "fine_tuning.job.succeeded"
    assert event.data.id == "ftjob-1"
    other = openai.OpenAI(api_key="x", webhook_secret="whsec_c2VjcmV0")
    with pytest.raises(openai.InvalidWebhookSignatureError):
        other.webhooks.unwrap(body, headers)


def test_a_refused_delivery_is_tried_again_later_with_the_same_id(
    open_sqlite: OpenStore, receiver: Receiver
) -> None:
    now = [1_000_000.0]
    store = open_sqlite(clock=lambda: now[0])
    add_endpoint(store, DEFAULT_PROJECT, receiver.url)
    announce(store)
    receiver.statuses = [500, 302]
    for pause in PAUSES_SECONDS[:2]:
        deliver_due(store)
        now[0] += pause - 1
        before = len(receiver.got)
        deliver_due(store)
        assert len(receiver.got) == before
        now[0] += 2
    deliver_due(store)
    deliver_due(store)
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


def test_a_delivery_that_never_succeeds_is_given_up(open_sqlite: OpenStore, free_port: int) -> None:
    now = [1_000_000.0]
    store = open_sqlite(clock=lambda: now[0])
    add_endpoint(store, DEFAULT_PROJECT, f"http://127.0.0.1:{free_port}/")
    announce(store)
    for pause in (*PAUSES_SECONDS, 10 * PAUSES_SECONDS[-1]):
        deliver_due(store)
        now[0] += pause + 1
    receiver = Receiver()
    deliver_due(store)
    receiver.server.server_close()
    assert receiver.got == []


def test_a_project_hears_of_its_own_events_only(any_store: Store, receiver: Receiver) -> None:
    endpoint = add_endpoint(any_store, DEFAULT_PROJECT, receiver.url)
    announce(any_store, "proj_other")
    deliver_due(any_store)
    assert receiver.got == []
    assert list_endpoints(any_store, DEFAULT_PROJECT) == (endpoint,)
    announce(any_store)
    remove_endpoint(any_store, DEFAULT_PROJECT, endpoint.id)
    deliver_due(any_store)
    assert receiver.got == []
    with pytest.raises(NotFound):
        remove_endpoint(any_store, DEFAULT_PROJECT, endpoint.id)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "http://", "nonsense"])
def test_only_http_addresses_are_endpoints(store: Store, url: str) -> None:
    with pytest.raises(InvalidInput, match="is not an http or https address"):
        add_endpoint(store, DEFAULT_PROJECT, url)
