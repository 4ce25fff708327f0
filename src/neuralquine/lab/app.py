"""The routes of the lab. Reading is GET, everything else POST; ``asked.py`` checks what comes in field by field."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..errors import BadOption, NeuralQuineError, installing
from . import asked, opened
from .guard import CHECKED, UPLOADS, Guard
from .jobs import Busy, Jobs
from .process import Interrupted, Process
from .shelf import Entry, Shelf

STATIC = Path(__file__).parent / "static"
_QUICK = 120.0  # seconds for what is done while the page waits
_LONGEST = 600  # seconds a search may be given
_OVERTIME = 120.0  # seconds for judging and saving

Answer = Callable[["Lab", Request], Awaitable[Response]]


class Lab:
    """What the routes share: the shelf, the queue, and a second process for what is quick.

    Args:
        place: an empty folder for the quines.
    """

    def __init__(self, place: Path) -> None:
        self.shelf = Shelf(place)
        self.desk = Process()
        self.jobs = Jobs(Process(), lambda job: self.shelf.found(job.id).unlink(missing_ok=True))
        self._catalog: dict[str, Any] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start both processes, which import torch while the page is being read."""
        await asyncio.gather(self.desk.start(), self.jobs.worker.start())
        background = asyncio.create_task(self._work())
        try:
            yield
        finally:
            background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await background
            await asyncio.gather(self.desk.close(), self.jobs.worker.close())

    async def _work(self) -> None:
        with contextlib.suppress(NeuralQuineError, Interrupted):
            await self.jobs.worker.ask("warm", {}, limit=_QUICK)
        await self.jobs.run()

    async def catalog(self) -> dict[str, Any]:
        """Return what can be chosen; the worker is asked once."""
        if not self._catalog:
            works = await self.desk.ask("works", {}, limit=_QUICK)
            self._catalog = {**await self.desk.ask("catalog", {}, limit=_QUICK), "works": works}
        return self._catalog

    async def at_desk(self, task: str, entry: Entry, **arguments: Any) -> Any:
        """Have something quick done with a quine."""
        return await self.desk.ask(task, {"folder": str(entry.folder), **arguments}, limit=_QUICK)


def make_app(lab: Lab, *, token: str, port: int) -> Guard:
    """Build the whole lab as an ASGI application.

    Args:
        lab: opened and closed with the application.
        token: of this start.
        port: the one that is listened on.
    """

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def answered(request: Request) -> Response:
            try:
                return await answer(lab, request)
            except (NeuralQuineError, Interrupted) as error:
                status = 429 if isinstance(error, Busy) else 400
                return JSONResponse({"error": str(error) or "stopped"}, status)

        return Route(path, answered, methods=[method])

    async def index(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    routes = [
        Route("/", index),
        route("/api/hello", _hello),
        route("/api/solve", _solve, "POST"),
        route("/api/train", _train, "POST"),
        route("/api/folders", _folders),
        route("/api/folders", _open_folder, "POST"),
        route(UPLOADS, _open_archive, "POST"),
        route(CHECKED, _check, "POST"),
        route("/api/jobs/{job}", _story),
        route("/api/jobs/{job}/cancel", _cancel, "POST"),
        route("/api/quines/{quine}", _look),
        route("/api/quines/{quine}/eigenvalues", _eigenvalues),
        route("/api/quines/{quine}/damage", _damage, "POST"),
        route("/api/quines/{quine}/generations", _generations, "POST"),
        route("/api/quines/{quine}/reset", _reset, "POST"),
        route("/api/quines/{quine}/zoo", _zoo, "POST"),
        route("/api/quines/{quine}/zoo/{job}/{index}", _adopt, "POST"),
        route("/api/quines/{quine}/samples", _samples),
        route("/api/quines/{quine}/score", _score),
        route("/api/quines/{quine}/read", _read, "POST"),
        route("/api/quines/{quine}/prove", _prove, "POST"),
        route("/api/quines/{quine}/folder.zip", _archive),
        route("/api/quines/{quine}/certificate.json", _certificate),
        route("/api/quines/{quine}/self.onnx", _onnx),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes, lifespan=lambda _: lab.open()), token=token, port=port)


def _entry(lab: Lab, request: Request) -> Entry:
    return lab.shelf.get(request.path_params["quine"])


# -- answers ----------------------------------------------------------------------------------------------------------


async def _hello(lab: Lab, request: Request) -> Response:
    catalog = await lab.catalog()
    jobs = [job.describe() for job in lab.jobs]
    missing = {"tasks": installing("tasks")}
    return JSONResponse(
        {**catalog, "installing": missing, "jobs": jobs, "quines": [lab.shelf.describe(entry) for entry in lab.shelf]}
    )


async def _solve(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "network", "seed", "method", "exact", "anchored", "time_limit")
    catalog = await lab.catalog()
    network = asked.name(data, "network", [n["name"] for n in catalog["networks"]])
    anchors = next(n["anchors"] for n in catalog["networks"] if n["name"] == network)
    arguments = {
        "network": network,
        "seed": asked.seed(data),
        "method": asked.name(data, "method", ["", *(m["name"] for m in catalog["methods"])], default=""),
        "exact": asked.flag(data, "exact"),
        "anchored": asked.flag(data, "anchored"),
        "time_limit": asked.whole(data, "time_limit", 1, _LONGEST, 60),
    }
    if arguments["anchored"] and not anchors:
        raise BadOption(f"{network} cannot be anchored")
    words = [
        f"seed {arguments['seed']}",
        "exact" * arguments["exact"],
        "anchored" * arguments["anchored"],
        arguments["method"],
    ]
    title = f"{network}, {', '.join(filter(None, words))}"
    return _found(lab, "solve", arguments, title, arguments["time_limit"] + _OVERTIME)


async def _train(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "network", "seed")
    network = asked.name(data, "network", [w["name"] for w in (await lab.catalog())["works"]])
    arguments = {"network": network, "seed": asked.seed(data)}
    return _found(lab, "train", arguments, f"{network}, seed {arguments['seed']}", _LONGEST)


def _found(lab: Lab, task: str, arguments: dict[str, Any], title: str, limit: float) -> Response:
    """Put a job in line whose quine goes on the shelf."""
    entry = lab.shelf.reserve()
    arguments = {"folder": str(entry.folder), **arguments}
    job = lab.jobs.add(task, arguments, title, limit, lambda result: lab.shelf.put(entry, {"title": title, **result}))
    return JSONResponse(job.describe(), 201)


async def _folders(lab: Lab, request: Request) -> Response:
    return JSONResponse({"folders": await asyncio.to_thread(opened.folders)})


async def _open_folder(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "name")
    source = opened.folder(asked.name(data, "name", await asyncio.to_thread(opened.folders)))
    return JSONResponse(await _opened(lab, source), 201)


async def _open_archive(lab: Lab, request: Request) -> Response:
    data = await request.body()
    with tempfile.TemporaryDirectory(prefix="neuralquine-opened-") as place:
        await asyncio.to_thread(opened.unpack, data, Path(place))
        return JSONResponse(await _opened(lab, Path(place)), 201)


async def _check(lab: Lab, request: Request) -> Response:
    """Compare the graph of an exported file with what the exporter writes; nothing of it stays here."""
    with tempfile.TemporaryDirectory(prefix="neuralquine-checked-") as place:
        file = Path(place) / "self.onnx"
        file.write_bytes(await request.body())
        return JSONResponse(await lab.desk.ask("compare", {"file": str(file)}, limit=_QUICK))


async def _opened(lab: Lab, source: Path) -> dict[str, Any]:
    """Put a quine that was kept on the shelf, verified anew."""
    entry = lab.shelf.reserve()
    arguments = {"source": str(source), "folder": str(entry.folder)}
    return lab.shelf.put(entry, await lab.desk.ask("reopen", arguments, limit=_QUICK))


async def _story(lab: Lab, request: Request) -> Response:
    job = lab.jobs.get(request.path_params["job"])
    after = request.headers.get("last-event-id", "")
    start = asked.number(after) + 1

    async def lines() -> AsyncIterator[str]:
        async for number, event in lab.jobs.story(job, start):
            yield ": still here\n\n" if event is None else f"id: {number}\ndata: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def _cancel(lab: Lab, request: Request) -> Response:
    job = lab.jobs.get(request.path_params["job"])
    await lab.jobs.cancel(job)
    return JSONResponse(job.describe())


async def _look(lab: Lab, request: Request) -> Response:
    entry = _entry(lab, request)
    return JSONResponse({**lab.shelf.describe(entry), "view": await lab.at_desk("look", entry)})


async def _eigenvalues(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("eigenvalues", _entry(lab, request)))


async def _damage(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "kind", "share", "layer", "cells")
    arguments = {
        "kind": asked.name(data, "kind", [d["name"] for d in (await lab.catalog())["damages"]]),
        "share": asked.share(data),
        "layer": asked.layer(data),
        "cells": asked.cells(data),
    }
    return JSONResponse(await lab.at_desk("damage", _entry(lab, request), **arguments))


async def _generations(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "count")
    count = asked.whole(data, "count", 1, 200, 1)
    return JSONResponse(await lab.at_desk("generations", _entry(lab, request), count=count))


async def _reset(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("reset", _entry(lab, request)))


async def _zoo(lab: Lab, request: Request) -> Response:
    data = await asked.body(request, "starts")
    entry, starts = _entry(lab, request), asked.whole(data, "starts", 1, 200, 40)
    arguments = {"folder": str(entry.folder), "starts": starts}
    job = lab.jobs.add("zoo", arguments, f"zoo of {entry.id}", _LONGEST + _OVERTIME, lambda result: result, entry.id)
    job.arguments["file"] = str(lab.shelf.found(job.id))
    return JSONResponse(job.describe(), 201)


async def _adopt(lab: Lab, request: Request) -> Response:
    parent, job = _entry(lab, request), lab.jobs.get(request.path_params["job"])
    index = asked.number(request.path_params["index"])
    if job.task != "zoo" or job.state != "done" or not 0 <= index < len(job.events[-1]["result"]["quines"]):
        raise BadOption("there is no such quine in this zoo")
    entry = lab.shelf.reserve()
    arguments = {
        "file": job.arguments["file"],
        "index": index,
        "parent": str(parent.folder),
        "folder": str(entry.folder),
    }
    result = await lab.desk.ask("adopt", arguments, limit=_QUICK)
    title = f"{parent.about['title'].split(',')[0]}, number {index + 1} of its zoo"
    return JSONResponse(lab.shelf.put(entry, {"title": title, **result}), 201)


async def _samples(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("samples", _entry(lab, request)))


async def _score(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("score", _entry(lab, request)))


async def _read(lab: Lab, request: Request) -> Response:
    ink = asked.ink(await asked.body(request, "ink"))
    return JSONResponse(await lab.at_desk("read", _entry(lab, request), ink=ink))


async def _prove(lab: Lab, request: Request) -> Response:
    await asked.body(request)
    entry = _entry(lab, request)

    def finish(result: dict[str, Any]) -> dict[str, Any]:
        entry.about["proof"] = result
        return lab.shelf.describe(entry)

    job = lab.jobs.add("prove", {"folder": str(entry.folder)}, f"proof of {entry.id}", _LONGEST, finish, entry.id)
    return JSONResponse(job.describe(), 201)


async def _archive(lab: Lab, request: Request) -> Response:
    entry = _entry(lab, request)
    return FileResponse(await lab.shelf.archive(entry), filename=f"quine-{entry.id}.zip")


async def _certificate(lab: Lab, request: Request) -> Response:
    entry = _entry(lab, request)
    try:
        content = await asyncio.to_thread(entry.certificate.read_bytes)  # whole: a second proof may take its place
    except FileNotFoundError:
        raise NeuralQuineError("nothing is proved about this quine yet") from None
    headers = {"content-disposition": f'attachment; filename="certificate-{entry.id}.json"'}
    return Response(content, headers=headers, media_type="application/json")


async def _onnx(lab: Lab, request: Request) -> Response:
    entry = _entry(lab, request)

    async def export(path: Path) -> None:
        await lab.at_desk("onnx", entry, file=str(path))

    return FileResponse(await lab.shelf.made(entry, "onnx", export), filename=f"self-{entry.id}.onnx")
