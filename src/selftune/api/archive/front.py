"""What stands before the server's own handlers where an archive is served.

It answers for ids of the archive, refuses to change them, mixes the lists, and lets everything else
pass. Callers of other projects do not notice it.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from selftune.api.archive.pages import archived_page, mixed_page, own_answer
from selftune.api.archive.paths import (
    CONTENT,
    LISTINGS,
    MODEL,
    MODELS,
    OBJECTS,
    PERMISSIONS,
    Listing,
)
from selftune.api.archive.shelf import Shelf, missing, read_only, unreplaced
from selftune.api.archive.written import written
from selftune.api.context import run_in_threadpool
from selftune.models.listed import is_tuned


class Front:
    """The middleware."""

    def __init__(self, app: ASGIApp, shelf: Shelf) -> None:
        self._app, self._shelf = app, shelf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it pass."""
        caller = scope.get("selftune.identity")
        if scope["type"] != "http" or not self._shelf.is_open_to(caller):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if scope["method"] != "GET":
            await run_in_threadpool(self._refuse_change, scope["path"])
            await self._app(scope, receive, send)
            return
        found = await self._listed(request) or await run_in_threadpool(self._found, scope["path"])
        await (found or self._app)(scope, receive, send)

    def _refuse_change(self, path: str) -> None:
        """Refuse what would change something of the archive.

        Raises:
            InvalidInput: the archive knows the id.

        """
        for kind, _, changes in OBJECTS:
            match = changes.fullmatch(path)
            if match and self._shelf.has(kind, match.groups()[-1]):
                raise read_only(kind, match.groups()[-1])
        match = MODEL.fullmatch(path) or PERMISSIONS.fullmatch(path)
        if match and match[1] in self._shelf.model_names:
            raise read_only("model", match[1])

    async def _listed(self, request: Request) -> Response | None:
        """Return a page, if the archive has something of the list."""
        path = request.scope["path"]
        if path == MODELS:
            return await self._models(request)
        for listing in LISTINGS:
            match = listing.path.fullmatch(path)
            if match is None:
                continue
            names = match.groups()
            if names and not await run_in_threadpool(self._knows, listing, names):
                return None
            parent = names[-1] if names else None
            if listing.is_mixed:
                return await mixed_page(self._app, request, self._shelf, listing, parent)
            assert parent is not None
            return await run_in_threadpool(archived_page, request, self._shelf, listing, parent)
        return None

    def _knows(self, listing: Listing, names: tuple[str, ...]) -> bool:
        """Return whether what a list belongs to is archived; raises why it could not be."""
        if listing.parent is None:
            return names[-1] in self._shelf.model_names
        above = names[-2] if len(names) > 1 else None
        return self._shelf.entry(listing.parent, names[-1], above) is not None

    async def _models(self, request: Request) -> Response:
        """Return all models; fine-tuned ones of the archive stand before this server's own."""
        status, body = await own_answer(self._app, request)
        if status != 200:
            return Response(body, status, media_type="application/json")
        page = orjson.loads(body)
        page["data"] = await run_in_threadpool(self._with_archived, page["data"])
        return written(page)

    def _with_archived(self, own: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        shelf = self._shelf
        archived = list(shelf.walk("model", shelf.models, lambda _: True))
        names = {each.get("id") for each in archived}
        own = [each for each in own if each["id"] not in names]
        at = next((at for at, each in enumerate(own) if is_tuned(each["id"])), len(own))
        return own[:at] + archived + own[at:]  # bases stand first

    def _found(self, path: str) -> Response | None:
        """Return an object or a content, if the archive has it; raises why it could not be kept."""
        content = CONTENT.fullmatch(path)
        if content:
            return self._content(content[1])
        model = MODEL.fullmatch(path)
        if model:
            return self._model(model[1])
        for kind, pattern, _ in OBJECTS:
            match = pattern.fullmatch(path)
            if match:
                above = match.groups()[-2] if len(match.groups()) > 1 else None
                found = self._shelf.entry(kind, match.groups()[-1], above)
                return None if found is None else written(found.object)
        return None

    def _content(self, file_id: str) -> Response | None:
        """Return a file's bytes as the source answered them: result files may be in base64."""
        found = self._shelf.entry("file", file_id)
        if found is None:
            return None
        if found.blob is None:
            raise missing("file", found, "the content of ")
        name = quote(str(found.object.get("filename") or file_id), safe=" ()[]{}!#$&+,-.=@^_~")
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        path = self._shelf.archive.blob(found.blob)
        return FileResponse(path, headers=headers, media_type="application/octet-stream")

    def _model(self, name: str) -> Response | None:
        if not is_tuned(name):
            return None
        found = self._shelf.entry("model", name)
        if found is not None:
            return written(found.object)
        if name in self._shelf.model_names:
            raise unreplaced(name)
        return None
