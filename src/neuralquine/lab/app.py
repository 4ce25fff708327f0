"""The routes of the lab. Reading is GET, everything else POST; what comes in is checked field by field."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..errors import NeuralQuineError
from .guard import Guard
from .jobs import Busy, Jobs
from .process import Interrupted, Process
from .shelf import Kept, Shelf

STATIC = Path(__file__).parent / "static"
_QUICK = 120.0  # seconds for what is done while the page waits
_LONGEST = 600  # seconds a search may be given
_OVERTIME = 120.0  # seconds for judging and saving
_PAINTED = 20_000  # cells of one wound
KINDS = ("noise", "large-noise", "zero", "negate", "flip", "words")  # of damage, weight by weight

Answer = Callable[["Lab", Request], Awaitable[Response]]


class Lab:
    """What the routes share: the shelf, the queue, and a second process for what is quick.

    Args:
        place: an empty folder for the quines.
    """

    def __init__(self, place: Path) -> None:
        self.shelf = Shelf(place)
        self.desk = Process()
        self.jobs = Jobs(Process())
        self._catalog: dict[str, Any] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Both processes import torch while the page is being read."""
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
        """What can be chosen; asked once."""
        if not self._catalog:
            works = await self.desk.ask("works", {}, limit=_QUICK)
            self._catalog = {**await self.desk.ask("catalog", {}, limit=_QUICK), "works": works}
        return self._catalog

    async def at_desk(self, task: str, kept: Kept, **arguments: Any) -> Any:
        return await self.desk.ask(task, {"folder": str(kept.folder), **arguments}, limit=_QUICK)


def make_app(lab: Lab, *, token: str, port: int) -> Guard:
    """The whole lab as an ASGI application.

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
        route("/api/jobs/{job}", _story),
        route("/api/jobs/{job}/cancel", _cancel, "POST"),
        route("/api/quines/{quine}", _look),
        route("/api/quines/{quine}/eigenvalues", _eigenvalues),
        route("/api/quines/{quine}/damage", _damage, "POST"),
        route("/api/quines/{quine}/generations", _generations, "POST"),
        route("/api/quines/{quine}/reset", _reset, "POST"),
        route("/api/quines/{quine}/zoo", _zoo, "POST"),
        route("/api/quines/{quine}/zoo/{job}/{index:int}", _adopt, "POST"),
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


# -- what is asked ----------------------------------------------------------------------------------------------------


async def _body(request: Request, *known: str) -> dict[str, Any]:
    try:
        data = await request.json()
    except (ValueError, RecursionError) as error:
        raise NeuralQuineError("the body is not JSON") from error
    if not isinstance(data, dict) or set(data) - set(known):
        raise NeuralQuineError(f"the body must be an object of {', '.join(known) or 'nothing'}")
    return data


def _whole(data: dict[str, Any], key: str, low: int, high: int, default: int) -> int:
    value = data.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise NeuralQuineError(f"{key} must be a whole number from {low} to {high}")
    return value


def _flag(data: dict[str, Any], key: str) -> bool:
    value = data.get(key, False)
    if type(value) is not bool:
        raise NeuralQuineError(f"{key} must be true or false")
    return value


def _name(data: dict[str, Any], key: str, known: list[str]) -> str:
    value = data.get(key)
    if value not in known:
        raise NeuralQuineError(f"{key} must be one of {', '.join(map(repr, known))}")
    return value


def _kept(lab: Lab, request: Request) -> Kept:
    return lab.shelf.get(request.path_params["quine"])


# -- answers ----------------------------------------------------------------------------------------------------------


async def _hello(lab: Lab, request: Request) -> Response:
    catalog = await lab.catalog()
    jobs = [job.describe() for job in lab.jobs]
    return JSONResponse({**catalog, "jobs": jobs, "quines": [lab.shelf.describe(kept) for kept in lab.shelf]})


async def _solve(lab: Lab, request: Request) -> Response:
    data = await _body(request, "network", "seed", "method", "exact", "anchored", "time_limit")
    catalog = await lab.catalog()
    network = _name(data, "network", [n["name"] for n in catalog["networks"]])
    anchors = next(n["anchors"] for n in catalog["networks"] if n["name"] == network)
    arguments = {
        "network": network,
        "seed": _whole(data, "seed", 0, 2**32 - 1, 0),
        "method": _name({"method": data.get("method", "")}, "method", ["", *(m["name"] for m in catalog["methods"])]),
        "exact": _flag(data, "exact"),
        "anchored": _flag(data, "anchored"),
        "time_limit": _whole(data, "time_limit", 1, _LONGEST, 60),
    }
    if arguments["anchored"] and not anchors:
        raise NeuralQuineError(f"{network} can not be anchored")
    kept = lab.shelf.reserve()
    words = [
        f"seed {arguments['seed']}",
        "exact" * arguments["exact"],
        "anchored" * arguments["anchored"],
        arguments["method"],
    ]
    title = f"{network}, {', '.join(filter(None, words))}"
    job = lab.jobs.add(
        "solve",
        {"folder": str(kept.folder), **arguments},
        title,
        arguments["time_limit"] + _OVERTIME,
        lambda result: lab.shelf.put(kept, {"title": title, **result}),
    )
    return JSONResponse(job.describe(), 201)


async def _train(lab: Lab, request: Request) -> Response:
    data = await _body(request, "network", "seed")
    network = _name(data, "network", [w["name"] for w in (await lab.catalog())["works"]])
    seed = _whole(data, "seed", 0, 2**32 - 1, 0)
    kept, title = lab.shelf.reserve(), f"{network}, seed {seed}"
    arguments = {"folder": str(kept.folder), "network": network, "seed": seed}
    job = lab.jobs.add(
        "train", arguments, title, _LONGEST, lambda result: lab.shelf.put(kept, {"title": title, **result})
    )
    return JSONResponse(job.describe(), 201)


async def _story(lab: Lab, request: Request) -> Response:
    job = lab.jobs.get(request.path_params["job"])
    after = request.headers.get("last-event-id", "")
    start = int(after) + 1 if after.isdecimal() and len(after) < 9 else 0

    async def lines() -> AsyncIterator[str]:
        async for number, event in lab.jobs.story(job, start):
            yield ": still here\n\n" if event is None else f"id: {number}\ndata: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def _cancel(lab: Lab, request: Request) -> Response:
    job = lab.jobs.get(request.path_params["job"])
    await lab.jobs.cancel(job)
    return JSONResponse(job.describe())


async def _look(lab: Lab, request: Request) -> Response:
    kept = _kept(lab, request)
    return JSONResponse({**lab.shelf.describe(kept), "view": await lab.at_desk("look", kept)})


async def _eigenvalues(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("eigenvalues", _kept(lab, request)))


async def _damage(lab: Lab, request: Request) -> Response:
    data = await _body(request, "kind", "share", "layer", "cells")
    share, layer, cells = data.get("share", 0), data.get("layer"), data.get("cells")
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise NeuralQuineError("share must be a number from 0 to 1")
    if layer is not None:
        layer = _whole(data, "layer", 0, 1000, 0)
    if cells is not None and not _are_cells(cells):
        raise NeuralQuineError(f"cells must be lists of [row, column], one for each layer, at most {_PAINTED} in all")
    kind = _name(data, "kind", list(KINDS))
    view = await lab.at_desk("damage", _kept(lab, request), kind=kind, share=share, layer=layer, cells=cells)
    return JSONResponse(view)


def _are_cells(cells: Any) -> bool:
    if not isinstance(cells, list) or not all(isinstance(layer, list) for layer in cells):
        return False
    every = [cell for layer in cells for cell in layer]
    return len(every) <= _PAINTED and all(
        isinstance(cell, list) and len(cell) == 2 and all(type(v) is int and 0 <= v < 1000 for v in cell)
        for cell in every
    )


async def _generations(lab: Lab, request: Request) -> Response:
    data = await _body(request, "count")
    count = _whole(data, "count", 1, 200, 1)
    return JSONResponse(await lab.at_desk("generations", _kept(lab, request), count=count))


async def _reset(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("reset", _kept(lab, request)))


async def _zoo(lab: Lab, request: Request) -> Response:
    data = await _body(request, "starts")
    kept, starts = _kept(lab, request), _whole(data, "starts", 1, 200, 40)
    arguments = {"folder": str(kept.folder), "starts": starts}
    job = lab.jobs.add("zoo", arguments, f"zoo of {kept.id}", _LONGEST + _OVERTIME, lambda result: result, kept.id)
    job.arguments["file"] = str(lab.shelf.file(f"{job.id}.safetensors"))
    return JSONResponse(job.describe(), 201)


async def _adopt(lab: Lab, request: Request) -> Response:
    parent, job, index = _kept(lab, request), lab.jobs.get(request.path_params["job"]), request.path_params["index"]
    if job.task != "zoo" or job.state != "done" or index >= len(job.events[-1]["result"]["quines"]):
        raise NeuralQuineError("there is no such quine in this zoo")
    kept = lab.shelf.reserve()
    arguments = {
        "file": job.arguments["file"],
        "index": index,
        "parent": str(parent.folder),
        "folder": str(kept.folder),
    }
    result = await lab.desk.ask("adopt", arguments, limit=_QUICK)
    title = f"{parent.about['title'].split(',')[0]}, number {index + 1} of its zoo"
    return JSONResponse(lab.shelf.put(kept, {"title": title, **result}), 201)


async def _samples(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("samples", _kept(lab, request)))


async def _score(lab: Lab, request: Request) -> Response:
    return JSONResponse(await lab.at_desk("score", _kept(lab, request)))


async def _read(lab: Lab, request: Request) -> Response:
    ink = (await _body(request, "ink")).get("ink")
    if not isinstance(ink, list) or len(ink) != 64 or not all(type(v) in (int, float) and 0 <= v <= 16 for v in ink):
        raise NeuralQuineError("ink must be 64 numbers from 0 to 16")
    return JSONResponse(await lab.at_desk("read", _kept(lab, request), ink=ink))


async def _prove(lab: Lab, request: Request) -> Response:
    await _body(request)
    kept = _kept(lab, request)

    def finish(result: dict[str, Any]) -> dict[str, Any]:
        kept.about["proof"] = result
        return lab.shelf.describe(kept)

    job = lab.jobs.add("prove", {"folder": str(kept.folder)}, f"proof of {kept.id}", _LONGEST, finish, kept.id)
    return JSONResponse(job.describe(), 201)


async def _archive(lab: Lab, request: Request) -> Response:
    kept = _kept(lab, request)
    path = await asyncio.to_thread(lab.shelf.archive, kept)
    return FileResponse(path, filename=f"quine-{kept.id}.zip")


async def _certificate(lab: Lab, request: Request) -> Response:
    kept = _kept(lab, request)
    if not kept.certificate.exists():
        raise NeuralQuineError("nothing is proved about this quine yet")
    return FileResponse(kept.certificate, filename=f"certificate-{kept.id}.json")


async def _onnx(lab: Lab, request: Request) -> Response:
    kept = _kept(lab, request)
    file = lab.shelf.file(f"{kept.id}.onnx")
    await lab.at_desk("onnx", kept, file=str(file))
    return FileResponse(file, filename=f"self-{kept.id}.onnx")
