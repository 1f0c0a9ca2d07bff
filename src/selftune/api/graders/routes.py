"""Check graders, and try them on one answer."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import answer, body_of, context, identity, run_in_threadpool
from selftune.api.graders.means import served_means
from selftune.api.graders.wire import RunGrader, ValidateGrader, run_json, validated_json
from selftune.api.routing import Router

router = Router("/v1/fine_tuning/alpha/graders")
_slots = asyncio.Semaphore(8)
"""Graders that run at a time: some take minutes, and other requests need threads as well."""


@router.post("/validate")
async def validate(request: Request) -> Response:
    """Return the grader, if it is one."""
    wanted = await body_of(request, ValidateGrader)
    return answer(await run_in_threadpool(validated_json, wanted))


@router.post("/run")
async def run(request: Request) -> Response:
    """Grade one answer."""
    wanted = await body_of(request, RunGrader)
    means = served_means(context(request), identity(request))
    async with _slots:
        return answer(await run_in_threadpool(run_json, wanted, means))
