"""Commands that go on until they are stopped: the page and the camera."""

import os
from pathlib import Path

import click

from pipeline.cli.command import Command
from pipeline.cli.options import FACE_OPTIONS, debug_option, mesh_option, options_of
from pipeline.run.options import SettingsOptions
from schemas import defaults
from schemas.extras import needs_extra


@click.command(cls=Command)
@click.argument("source")
@options_of(SettingsOptions, *FACE_OPTIONS, "smoothing", "window", min_face=defaults.LIVE_MIN_FACE)
@click.option("-o", "--output", metavar="FILE.mp4", help="Write the frames with what was seen drawn in.")
@mesh_option
@debug_option
def live(
    source: str,
    detector: str,
    detector_weights: str | None,
    min_face: float,
    model: str,
    smoothing: str,
    window: float | None,
    output: str | None,
    mesh: bool,
) -> None:
    """Name emotions as they are seen: SOURCE is a camera's number, a file, or a URL such as rtsp://….

    Prints one JSON object a frame; Ctrl-C ends it.
    """
    from pipeline.run.stderr import redirect_stderr

    with redirect_stderr(os.devnull) as terminal:
        from pipeline.live.stream import live as watch

        sentence = watch(
            source,
            output,
            detector=detector,
            detector_weights=detector_weights,
            min_face=min_face,
            model=model,
            smoothing=smoothing,
            window_s=window,
            mesh=mesh,
        )
        click.echo(f"affectline: {sentence}", file=terminal)


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", help="Address to serve at; any but this machine needs a token.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@options_of(SettingsOptions, "model", "detector_weights")
@debug_option
def app(host: str, port: int, no_open: bool, model: str, detector_weights: str | None) -> None:
    """Serve a page for pictures, videos and the webcam, on this machine alone."""
    from pipeline.run.stderr import quiet_libraries

    with quiet_libraries():
        with needs_extra("app", "starlette", "uvicorn"):
            from pipeline.app.server import serve
        from pipeline.app.engines import Engines

        engines = Engines(model, Path(detector_weights) if detector_weights else None)
        serve(host, port, engines, open_browser=not no_open, tell=click.echo)
