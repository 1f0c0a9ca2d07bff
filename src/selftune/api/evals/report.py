"""The page that `report_url` names: one run, for people.

A browser sends no API key, so the address itself has one, for this run only.
"""

import json
import secrets
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import context, is_count
from selftune.api.evals.wire import STATUS
from selftune.api.routing import Router
from selftune.core.errors import NotFound
from selftune.store.eval_runs import Run, get_run_by_id
from selftune.store.evals import Eval, get_eval
from selftune.store.output_items import worst_items

if TYPE_CHECKING:
    from jinja2 import Template

router = Router("/evaluations")
_ITEMS_ON_A_PAGE = 50
_AFTER_NAME = len("-00000000-0000-4000-8000-000000000000")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def report_url(request: Request, run: Run) -> str:
    """Return the address of a run's page, on the server as the caller reached it."""
    query = urlencode({"run_id": run.id, "key": run.report_key})
    return f"{request.base_url}evaluations/{quote(run.eval_id)}?{query}"


@router.get("/{eval_id}")
def report(request: Request, eval_id: str) -> Response:
    """Return the page; whoever has its key may see it."""
    query = request.query_params
    store = context(request).store
    try:
        run = get_run_by_id(store, query.get("run_id", ""))
        made = get_eval(store, run.project_id, eval_id)
    except NotFound:
        return _page(None)
    if run.eval_id != made.id or not _is_key(run, query.get("key", "")):
        return _page(None)
    text = query.get("page", "1")
    page = max(int(text), 1) if is_count(text) else 1
    skip = (page - 1) * _ITEMS_ON_A_PAGE
    items = worst_items(store, run.id, skip=skip, limit=_ITEMS_ON_A_PAGE)
    address = urlencode({"run_id": run.id, "key": run.report_key})
    return _page(_told(made, run) | {"items": items, "page": page, "address": address})


def _is_key(run: Run, key: str) -> bool:
    return secrets.compare_digest(run.report_key.encode(), key.encode())


def _page(values: dict[str, Any] | None) -> Response:
    if values is None:
        text, status = "There is no such report, or its address is incomplete.\n", 404
        return Response(text, status, _HEADERS, media_type="text/plain")
    html = _template().render(values)
    return Response(html, 200, _HEADERS, media_type="text/html")


def _told(made: Eval, run: Run) -> dict[str, Any]:
    from selftune.evaluate.statistics import wilson

    judged = run.passed + run.failed
    total = judged + run.errored
    criteria = [
        (name, passed, failed, _share(passed, passed + failed))
        for name, (passed, failed) in run.tallies.criteria.items()
    ]
    return {
        "made": made,
        "run": run,
        "status": STATUS[run.status].replace("_", " "),
        "is_over": run.finished_at is not None,
        "total": total,
        "judged": judged,
        "interval": wilson(run.passed, judged) if judged else None,
        "criteria": criteria,
        "pages": max(-(-total // _ITEMS_ON_A_PAGE), 1),
    }


def _share(passed: int, n: int) -> str:
    from selftune.evaluate.statistics import wilson

    if n == 0:
        return "nothing to judge"
    found = wilson(passed, n)
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


@cache
def _template() -> "Template":
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    environment.filters["name"] = lambda value: value[:-_AFTER_NAME]
    environment.filters["as_json"] = lambda value: json.dumps(value, ensure_ascii=False, indent=1)
    source = files("selftune.api.evals").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)
