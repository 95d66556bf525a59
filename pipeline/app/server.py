"""The page of `affectline app`: its addresses, and the server behind them."""

import asyncio
import base64
import contextlib
import json
import secrets
import shutil
import socket
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.app.engines import Choice, Engines
from pipeline.app.guard import Guard, is_loopback
from pipeline.app.jobs import Jobs
from pipeline.app.uploads import (
    MAX_FRAME_BYTES,
    MAX_FRAME_PIXELS,
    MAX_PICTURE_BYTES,
    MAX_PICTURE_PIXELS,
    MAX_VIDEO_BYTES,
    MAX_VIDEO_SECONDS,
    Room,
    UploadError,
    announced_size,
    check_picture,
    receive,
    safe_name,
    video_ending,
)
from pipeline.draw.overlay import draw_analyzed
from pipeline.live.live import LiveFaces
from schemas import defaults
from schemas.emotions import colors_of
from schemas.errors import UnreadablePictureError, UsageError
from transforms.faces.analyzer import find_faces
from transforms.faces.pictures import read_picture

MAX_LIVE: Final = 2
"""Webcam pages served at a time."""

_JPEG_QUALITY: Final = 92
_PATIENCE_S: Final = 3  # for answers under way when the server ends
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class App:
    """What the addresses do. Inference has one thread, so that no detector is used by two at once."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._jobs: Jobs
        self._live = 0
        self._room = Room()
        static = resources.files("pipeline.app") / "static"
        self._static = {item.name: item.read_bytes() for item in static.iterdir()}

    def asgi(self) -> Starlette:
        """The application, without its guard."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/static/{name}", self._page),
                Route("/api/choices", self._choices),
                Route("/api/picture", self._picture, methods=["POST"]),
                Route("/api/videos", self._videos),
                Route("/api/videos", self._add_video, methods=["POST"]),
                Route("/api/videos/{id}", self._remove_video, methods=["DELETE"]),
                Route("/videos/{id}/{name:path}", self._video_file),
                WebSocketRoute("/api/live", self._webcam),
            ],
            exception_handlers={UploadError: _told, UsageError: _told, UnreadablePictureError: _told},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._jobs = Jobs(self._engines)
        first = self._engines.check({})
        # The page is there at once, and what it will need is loaded meanwhile.
        self._inference.submit(self._warm_up, first)
        try:
            yield
        finally:
            await self._jobs.close()
            self._inference.shutdown(wait=False, cancel_futures=True)

    def _warm_up(self, choice: Choice) -> None:
        analyzer = self._engines.analyzer(choice, defaults.LIVE_MIN_FACE)
        size, channels = analyzer.spec.input_size, analyzer.spec.channels
        analyzer.classifier.predict_emotions(np.zeros((1, size, size, channels), np.uint8))
        analyzer.detector.detect([np.zeros((480, 640, 3), np.uint8)])

    async def _infer(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._inference, function, *arguments)

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._static:
            return JSONResponse({"error": "There is no such page."}, 404)
        return Response(self._static[name], media_type=_TYPES[Path(name).suffix])

    async def _choices(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "offered": self._engines.offered,
                "emotions": colors_of(self._engines.emotions),
                "limits": {
                    "picture_bytes": MAX_PICTURE_BYTES,
                    "video_bytes": MAX_VIDEO_BYTES,
                    "video_seconds": MAX_VIDEO_SECONDS,
                },
            }
        )

    async def _picture(self, request: Request) -> Response:
        choice = self._engines.check(dict(request.query_params))
        content = BytesIO()
        await receive(request, MAX_PICTURE_BYTES, content)
        check_picture(content.getbuffer(), MAX_PICTURE_PIXELS)
        return JSONResponse(await self._infer(self._look_at_picture, content, choice))

    def _look_at_picture(self, content: BytesIO, choice: Choice) -> dict[str, Any]:
        image = read_picture(content)
        faces = find_faces(image, self._engines.analyzer(choice, defaults.MIN_FACE))
        draw_analyzed(image, faces)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        return {
            "width": image.shape[1],
            "height": image.shape[0],
            "faces": [face.as_json() for face in faces],
            "annotated": "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(),
        }

    async def _videos(self, _request: Request) -> Response:
        return JSONResponse([job.as_json() for job in self._jobs.all])

    async def _add_video(self, request: Request) -> Response:
        asked = dict(request.query_params)
        choice = self._engines.check(asked)
        with self._room.reserve(self._jobs.folder, announced_size(request, MAX_VIDEO_BYTES)) as coming:
            folder = self._jobs.new_folder()
            try:
                coming.file = received = folder / "received"
                with received.open("wb") as file:
                    await receive(request, MAX_VIDEO_BYTES, file)
                name = asked.get("name", "video")
                uploads = folder / "upload"  # by itself, so that no name can meet one of ours
                uploads.mkdir()
                coming.file = video = received.rename(uploads / f"{safe_name(name)}{video_ending(received)}")
                job = await self._jobs.add(name, choice, folder, video)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return JSONResponse(job.as_json(), 201)

    async def _remove_video(self, request: Request) -> Response:
        job = self._jobs.get(request.path_params["id"])
        if job is None:
            return JSONResponse({"error": "There is no such video."}, 404)
        await self._jobs.remove(job)
        return Response(status_code=204)

    async def _video_file(self, request: Request) -> Response:
        job = self._jobs.get(request.path_params["id"])
        path = job.files.get(request.path_params["name"]) if job else None
        if path is None:
            return JSONResponse({"error": "There is no such file."}, 404)
        return FileResponse(path)  # a path of ours: what was asked for was looked up, not opened

    async def _webcam(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            choice = self._engines.check(dict(socket.query_params))
            if self._live >= MAX_LIVE:
                raise UsageError(f"{MAX_LIVE} pages use a webcam already; stop one of them.")
            self._live += 1
            try:
                await self._serve_frames(socket, choice)
            finally:
                self._live -= 1
        except WebSocketDisconnect:
            pass
        except (UsageError, UploadError, ValueError) as error:
            await socket.send_json({"error": str(error)})
            await socket.close()

    async def _serve_frames(self, socket: WebSocket, choice: Choice) -> None:
        """Answer each JPEG with the faces in it. No frame outlives its answer and the search under way."""
        analyzer = await self._infer(self._engines.analyzer, choice, defaults.LIVE_MIN_FACE)
        faces = LiveFaces(analyzer, choice.smoothing, beside=self._inference)
        with ThreadPoolExecutor(1, thread_name_prefix="webcam") as thread:
            start_ns = time.monotonic_ns()
            await socket.send_json({"ready": True})
            while True:
                jpeg = (await _receive(socket)).get("bytes") or b""
                received_ns = time.monotonic_ns()
                image = await asyncio.get_running_loop().run_in_executor(thread, _decode, jpeg)
                seen = await asyncio.get_running_loop().run_in_executor(
                    thread, faces.see, (received_ns - start_ns) // 1000, image
                )
                told = [face.as_json() for face in seen]
                took_ms = (time.monotonic_ns() - received_ns) / 1e6
                await socket.send_text(json.dumps({"faces": told, "ms": round(took_ms, 2)}))


async def _receive(socket: WebSocket) -> Message:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    return message


def _decode(jpeg: bytes) -> np.ndarray:
    """A webcam's frame, uint8 RGB [H, W, 3]; UploadError when it is none."""
    if len(jpeg) > MAX_FRAME_BYTES:
        raise UploadError(413, "The webcam's picture is too large.")
    check_picture(jpeg, MAX_FRAME_PIXELS, ("JPEG",))
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UploadError(415, "The webcam's picture cannot be read.")
    return image


async def _told(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


def make_app(engines: Engines, host: str, token: str | None) -> ASGIApp:
    """The guarded application; `token` None where only this machine can reach it."""
    return Guard(App(engines).asgi(), host, token)


def serve(host: str, port: int, engines: Engines, open_browser: bool, tell: Callable[[str], None]) -> None:
    """Serve the page until interrupted.

    Args:
        host: the address to bind to; any but loopback needs the token that is then made.
        port: 0 takes a free one.
        engines: what to offer.
        open_browser: whether to open the page.
        tell: gets the address, in one line.

    Raises UsageError when the address cannot be bound to.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"The page cannot be served at {host} port {port} ({error.strerror or error}); "
            "choose another --host or --port."
        ) from error
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    name = f"[{host}]" if ":" in host else host
    if token is not None and host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    address = f"http://{name}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
    config = uvicorn.Config(
        make_app(engines, host, token),
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # JPEG does not shrink
        timeout_graceful_shutdown=_PATIENCE_S,
        server_header=False,
    )
    tell(address)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    # Ctrl-C has ended the server in good order by the time it is raised.
    with listening, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
