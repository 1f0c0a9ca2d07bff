"""Deliver webhooks: signed as Standard Webhooks asks, at least once, with growing pauses."""

import base64
import hashlib
import hmac
import urllib.request
from http.client import HTTPException

from selftune.store.store import Store
from selftune.store.webhooks import Delivery, claim_delivery, record_attempt

TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Before each further attempt; after the last one a delivery is given up."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET without the event: it counts as a refusal."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def deliver_due(store: Store) -> None:
    """Try every delivery whose time has come."""
    while (delivery := claim_delivery(store, for_seconds=2 * TIMEOUT_SECONDS)) is not None:
        delivered = _post(delivery, store.now())
        pause = (
            PAUSES_SECONDS[delivery.attempts] if delivery.attempts < len(PAUSES_SECONDS) else None
        )
        next_attempt = None if pause is None else store.clock() + pause
        record_attempt(store, delivery, delivered=delivered, next_attempt_at=next_attempt)


def signature(secret: str, webhook_id: str, timestamp: int, body: str) -> str:
    """Return the `webhook-signature` header: `v1,` and the base64 HMAC-SHA256.

    See the Standard Webhooks specification, https://www.standardwebhooks.com.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _post(delivery: Delivery, timestamp: int) -> bool:
    request = urllib.request.Request(
        delivery.url,
        data=delivery.body.encode(),
        headers={
            "content-type": "application/json",
            "user-agent": "selftune-webhooks",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(delivery.secret, delivery.id, timestamp, delivery.body),
        },
    )
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, HTTPException):  # refused, timed out, or an HTTP error: all are tried again
        return False
