"""The `affectline` command: click commands and nothing else. Heavy imports wait until a command runs."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from pipeline.errors import RunError, UsageError, WorkerDiedError
from pipeline.training_options import Grouped, GroupedCommand, data_options, overrides, recipe_options
from schemas import VERSION

_BEAM_OPTIONS = "beam_options"
_DEBUG = "debug"


class _Affectline(click.Group):
    """The command group; every error leaves it as one sentence with its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Print errors as one line; click's own would repeat the usage first."""
        try:
            return super().main(*args, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            click.echo(f"affectline: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("affectline: stopped; videos finished so far are kept.", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and put what it raises into a sentence."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except UsageError as error:
            raise _Sentence(str(error), 2) from error
        except WorkerDiedError as error:
            click.echo(f"affectline: {error}", err=True)
            os._exit(1)  # Beam's threads still wait for the dead worker
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            if isinstance(error, RunError):
                raise _Sentence(str(error), 1) from error
            last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise _Sentence(f"the run failed: {last_line} (--debug shows the traceback).", 1) from error


class _Sentence(click.ClickException):
    """One sentence for the user, and the exit code that goes with it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class _RunCommand(click.Command):
    """A command after whose `--` come options for Beam."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set what follows `--` aside before click reads the rest."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_BEAM_OPTIONS] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


def _fps(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(f"{value!r} is not a number.") from error
    if rate < 0:
        raise click.BadParameter("samples a second cannot be negative; 0 takes every frame.")
    return value


class _BatchSize(click.ParamType):
    """A whole number, or None for auto."""

    name = "batch size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a whole number from 1 on nor auto.", param, ctx)
        return int(value)


_debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _parameter, value: ctx.meta.__setitem__(_DEBUG, value),
    help="Show the traceback of an error.",
)


@click.group(cls=_Affectline, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(VERSION, prog_name="affectline")
def main() -> None:
    """Turn folders of videos into emotion timelines that can be queried."""
    # Libraries talk to a run's log file, or to nobody.
    logging.getLogger().addHandler(logging.NullHandler())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


_smoothing_options = (
    click.option("--smoothing", default="hmm", help="hmm, ema, median, mode or none."),
    click.option(
        "--window",
        type=click.FloatRange(0, min_open=True),
        help="Smoothing window in seconds; each method has its own.",
    ),
)


_face_options = (
    click.option("--detector", default="mtcnn", help="Face detector: mtcnn, haar or yunet."),
    click.option("--detector-weights", metavar="FILE", help="Weights for yunet, instead of a download."),
    click.option(
        "--min-face",
        default=0.08,
        type=click.FloatRange(0, 1, min_open=True),
        help="Smallest face, as a part of the frame's shorter side.",
    ),
    click.option("--model", default="default", help="A shipped model's name, or a .keras file."),
)


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that decide what is written, for `run` and `plan` alike."""
    options = [
        click.option("--fps", default="5", callback=_fps, help="Samples a second; 0: every frame."),
        *_face_options,
        *_smoothing_options,
        click.option("--no-crops", is_flag=True, help="Store no pictures of faces."),
        _debug_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(cls=_RunCommand, epilog="Options for Beam itself come after `--`.")
@click.argument("inputs", nargs=-1, required=True)
@click.option("-o", "--output", "out", required=True, help="Folder for the tables.")
@_settings_options
@click.option(
    "--segment-seconds",
    default=60.0,
    type=click.FloatRange(0),
    help="Cut videos into pieces of this length for workers; 0: one piece.",
)
@click.option(
    "--segment-timeout",
    default=300.0,
    type=click.FloatRange(0, min_open=True),
    help="Seconds a decoder may take for a minute of video.",
)
@click.option(
    "--wave-minutes",
    default=30.0,
    type=click.FloatRange(0, min_open=True),
    help="Minutes of video committed together in a local run.",
)
@click.option("--workers", default=1, type=click.IntRange(1), help="Local processes.")
@click.option(
    "--batch-size",
    default="auto",
    type=_BatchSize(),
    metavar="N|auto",
    help="Faces classified at once; auto: as many as pay and fit.",
)
@click.option("--force", is_flag=True, help="Do finished videos again.")
@click.option(
    "--max-failure-ratio",
    default=1.0,
    type=click.FloatRange(0, 1),
    help="End the run when more than this part of the videos cannot be read.",
)
@click.option("--runner", default="local", help="local, dataflow, or the name of another Beam runner.")
@click.option("--project", help="Google Cloud project that Dataflow runs in.")
@click.option("--region", help="Google Cloud region that Dataflow runs in.")
@click.option("--gpu", help="GPU of Dataflow's workers, such as nvidia-l4.")
@click.option(
    "--separate-gpu-stage", is_flag=True, help="Decode and detect on CPU workers, classify on GPU workers."
)
@click.option("--dry-run", is_flag=True, help="Show what Dataflow would be sent, and send nothing.")
@click.option("--metrics", is_flag=True, help="Print what was counted and timed.")
@click.pass_context
def run(
    ctx: click.Context,
    inputs: tuple[str, ...],
    out: str,
    segment_seconds: float,
    segment_timeout: float,
    batch_size: int | None,
    workers: int,
    wave_minutes: float,
    force: bool,
    max_failure_ratio: float,
    runner: str,
    project: str | None,
    region: str | None,
    gpu: str | None,
    separate_gpu_stage: bool,
    dry_run: bool,
    metrics: bool,
    **settings: Any,
) -> None:
    """Turn videos into tables: INPUTS are files, folders, globs, URIs or @lists of them."""
    from pipeline.build import Execution
    from pipeline.dataflow import Cloud
    from pipeline.run import Request, check_runner, check_settings, dry_run_lines, execute
    from pipeline.summary import summary
    from transforms.metrics import describe

    cloud = Cloud(project, region, gpu, separate_gpu_stage)
    beam_runner = check_runner(runner, cloud, inputs, out)
    checked, spec = check_settings(**settings)
    request = Request(
        inputs=inputs,
        settings=checked,
        model=spec,
        execution=Execution(
            out=out,
            segment_seconds=segment_seconds,
            segment_timeout=segment_timeout,
            batch_size=batch_size,
            model=checked.model,
            gpu=gpu is not None,
            gpu_stage=cloud.gpu_stage,
        ),
        workers=workers,
        wave_minutes=wave_minutes,
        force=force,
        max_failure_ratio=max_failure_ratio,
        runner=beam_runner,
        beam_options=ctx.meta.get(_BEAM_OPTIONS, ()),
        cloud=cloud,
    )
    if dry_run:
        for line in dry_run_lines(request):
            click.echo(line)
        return
    outcome = execute(request)
    if outcome is None:
        return
    for line in summary(outcome, out):
        click.echo(line)
    for line in describe(outcome.measured) if metrics else ():
        click.echo(line)
    sys.exit(3 if outcome.failed else 0)


@main.command()
@click.argument("inputs", nargs=-1, required=True)
@_settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(inputs: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Say what a run over INPUTS would take; nothing is written."""
    from pipeline.chatter import chatter_to
    from pipeline.plan import describe, make_plan
    from pipeline.run import check_settings, match

    checked, model = check_settings(**settings)
    videos = match(inputs)
    with chatter_to(os.devnull):
        planned = make_plan(videos, checked, model)
    if as_json:
        click.echo(json.dumps(asdict(planned), indent=2))
    else:
        for line in describe(planned):
            click.echo(line)


@main.command()
@click.argument("out", metavar="DIR")
@_smoothing_options[0]
@_smoothing_options[1]
@_debug_option
def resmooth(out: str, smoothing: str, window: float | None) -> None:
    """Track and smooth the tables in DIR again from their raw columns."""
    from pipeline.resmooth import resmooth as resmooth_all
    from pipeline.run import check_smoothing

    check_smoothing(smoothing)
    click.echo(f"{resmooth_all(out, smoothing, window)} videos smoothed again with {smoothing}.")


@main.command()
@click.option("-o", "--output", "out", help="Folder for the tables; a new one when left out.")
@_debug_option
@click.pass_context
def demo(ctx: click.Context, out: str | None) -> None:
    """Run everything on the clip that comes with the package."""
    from pipeline.demo import clip, new_folder

    click.echo(f"affectline run {clip()} …\n")
    ctx.invoke(run, inputs=(str(clip()),), out=out or new_folder())


@contextmanager
def _extra(extra: str, *packages: str) -> Iterator[None]:
    """Around imports of packages that only `pip install affectline[extra]` brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise UsageError(
            f"{package} is not installed; get it with: pip install 'affectline[{extra}]'"
        ) from error


def _train_extra() -> AbstractContextManager[None]:
    """Around imports that need what only training and evaluation use."""
    return _extra("train", "sklearn", "matplotlib")


@main.command(
    cls=GroupedCommand,
    epilog="What is left out is as in the model's own recipe. Under Phases, VALUE counts for every phase and "
    "PHASE=VALUE for one; such options may be repeated.",
)
@click.argument("model")
@data_options
@click.option(
    "-o",
    "--output",
    cls=Grouped,
    group="Run",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run.",
)
@click.option("--seed", cls=Grouped, group="Run", type=int, default=0, help="Of everything random.")
@click.option(
    "--backbone-weights",
    cls=Grouped,
    group="Run",
    metavar="imagenet|none|FILE",
    help="What a backbone starts from; the model's own choice when left out.",
)
@recipe_options
@_debug_option
def train(
    model: str,
    data: Path,
    votes: Path | None,
    output: Path,
    seed: int,
    backbone_weights: str | None,
    **options: Any,
) -> None:
    """Train MODEL, such as cnn48, by its own recipe; run the same command again to go on after a cut."""
    with _train_extra():
        from models import training
    from models.recipes import changed_recipe
    from models.registry import get_architecture

    try:
        recipe = changed_recipe(get_architecture(model).recipe, **overrides(options))
        config = training.TrainingConfig(
            model, str(data), seed, recipe, str(votes) if votes else None, backbone_weights
        )
        training.train(config, output)
    except ValueError as error:
        raise UsageError(str(error)) from error
    click.echo((output / "evaluation" / "evaluation.txt").read_text(encoding="utf-8"), nl=False)


@main.command(cls=GroupedCommand)
@click.option(
    "--model",
    "names",
    cls=Grouped,
    group="Models",
    required=True,
    multiple=True,
    metavar="NAME|FILE",
    help="Saved weights by name, or a .keras file; give several to compare them.",
)
@data_options
@click.option(
    "--usage", cls=Grouped, group="Data", help="Which part of the data; its test part when left out."
)
@click.option("--json", "as_json", cls=Grouped, group="Output", is_flag=True, help="Print JSON.")
@click.option(
    "-o",
    "--output",
    cls=Grouped,
    group="Output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for confusion matrices and reliability plots, and the figures as text and JSON.",
)
@_debug_option
def evaluate(
    names: tuple[str, ...],
    data: Path,
    votes: Path | None,
    usage: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Measure saved models on labelled faces, and set them side by side."""
    with _train_extra():
        from models import evaluation

    try:
        measured = evaluation.evaluate_all(names, data, usage, votes)
        if output:
            evaluation.write_evaluation(measured, output)
    except ValueError as error:
        raise UsageError(str(error)) from error
    click.echo(evaluation.as_json(measured) if as_json else evaluation.as_text(measured))


@main.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_debug_option
@click.pass_context
def models_group(ctx: click.Context, as_json: bool) -> None:
    """List the models that can be built and trained by name."""
    from models.catalogue import as_text, catalogue

    if ctx.invoked_subcommand is None:
        entries = catalogue()
        click.echo(json.dumps(entries, indent=2) if as_json else as_text(entries))


@models_group.command("show")
@click.argument("model", metavar="NAME|FILE")
@click.option("-o", "--output", metavar="FILE.png", help="The picture to write.  [default: NAME.png, here]")
@_debug_option
def show_model(model: str, output: str | None) -> None:
    """Print a model's layers, and draw them as a picture; FILE is a .keras file."""
    from models.catalogue import network_of
    from models.diagram import layer_table, layered_picture

    picture = output or f"{Path(model).stem if model.endswith('.keras') else model}.png"
    if not picture.endswith(".png"):
        raise UsageError(f"'{picture}' is no name for a picture; give one that ends in .png.")
    try:
        network = network_of(model)
        layered_picture(network).save(picture)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"'{picture}' cannot be written: {error.strerror}.") from error
    click.echo(layer_table(network))
    click.echo(f"Drawn in {picture}.")


@main.command()
@click.argument("video")
@click.argument("out", metavar="DIR")
@click.option("-o", "--output", required=True, metavar="FILE.mp4", help="The video to write.")
@_debug_option
def annotate(video: str, out: str, output: str) -> None:
    """Draw what the tables in DIR say of VIDEO's faces into a copy of it."""
    from pipeline.annotate import annotate as annotate_video

    done = annotate_video(video, out, output)
    sound = "with sound" if done.has_sound else "without sound"
    click.echo(f"{output}: {done.frames} frames, {done.frames_with_face} with a face, {sound}.")
    for problem in done.problems:
        click.echo(f"  {problem}")


@main.command()
@click.argument("out", metavar="DIR")
@click.option(
    "-o", "--output", "html", metavar="HTML_DIR", help="Folder for the pages.  [default: DIR/report]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a video, and make no pages.")
@click.option("--no-crops", is_flag=True, help="Show no pictures of faces.")
@_debug_option
def report(out: str, html: str | None, as_json: bool, no_crops: bool) -> None:
    """Make pages of the tables in DIR: an index, and one for each video."""
    from tqdm import tqdm

    from pipeline.report.pages import check_tables, write_report
    from pipeline.report.summarize import as_json_line, summaries

    ids = check_tables(out)
    shown = tqdm(ids, unit=" videos", disable=None, leave=False)
    if as_json:
        for summary in summaries(out, shown):
            click.echo(as_json_line(summary))
    else:
        click.echo(write_report(out, html or os.path.join(out, "report"), shown, crops=not no_crops))


@main.command()
@click.argument("out", metavar="DIR")
@_debug_option
def compact(out: str) -> None:
    """Gather the many small files of the tables in DIR into few large ones."""
    from tqdm import tqdm

    from pipeline.compact import compact as gather
    from pipeline.compact import describe

    with tqdm(unit=" steps", disable=None, leave=False) as bar:
        done = gather(out, bar.update)
    for line in describe(done):
        click.echo(line)


def _picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that decide which faces of pictures are seen, and by which model."""
    whole = click.option(
        "--crop", is_flag=True, help="The picture is a face from edge to edge; look for none."
    )
    for option in reversed((*_face_options, whole, _debug_option)):
        command = option(command)
    return command


@main.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_picture_options
@click.option(
    "--annotate",
    metavar="FILE",
    help="Draw what was found into a copy; with several pictures or a folder, a folder of copies.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture.")
def predict(images: tuple[str, ...], crop: bool, annotate: str | None, as_json: bool, **tools: Any) -> None:
    """Find the faces in pictures and their emotions; an IMAGE may be a folder of them."""
    from pipeline.chatter import chatter_to

    unread = 0
    with chatter_to(os.devnull) as terminal:
        from pipeline.predict import PictureTable, as_json_line, load_tools, plan_tasks
        from pipeline.predict import predict as predict_all

        tasks = plan_tasks(images, annotate)
        classifier, detector = load_tools(crop, **tools)
        table = PictureTable(max(len(task.picture) for task in tasks), classifier.classes, boxes=not crop)
        if not as_json:
            click.echo(table.head())
        for prediction in predict_all(tasks, classifier, detector):
            if prediction.error:
                unread += 1
                click.echo(f"affectline: {prediction.picture}: {prediction.error}", file=terminal)
            for line in [as_json_line(prediction)] if as_json else table.rows(prediction):
                click.echo(line)
    sys.exit(3 if unread else 0)


@main.group()
def explain() -> None:
    """Look inside a model: each command writes one picture."""


_layer_option = click.option("--layer", metavar="NAME", help="A layer's name; a wrong one lists them.")
_picture_file_option = click.option(
    "-o", "--output", required=True, metavar="FILE.png", help="The picture to write."
)


@explain.command()
@_picture_file_option
@_face_options[-1]
@_layer_option
@_debug_option
def kernels(output: str, model: str, layer: str | None) -> None:
    """Draw the kernels of a convolution; without --layer, of the first."""
    from pipeline.chatter import chatter_to

    with chatter_to(os.devnull):
        from pipeline.explain import explain_kernels

        done = explain_kernels(model, layer, output)
    click.echo(done)


@explain.command()
@click.argument("image")
@_picture_file_option
@_picture_options
@_layer_option
def features(image: str, output: str, layer: str | None, crop: bool, **tools: Any) -> None:
    """Draw what a layer answers to the surest face in IMAGE; without --layer, the first convolution."""
    from pipeline.chatter import chatter_to

    with chatter_to(os.devnull):
        from pipeline.explain import explain_features
        from pipeline.predict import load_tools

        done = explain_features(image, *load_tools(crop, **tools), layer, output)
    click.echo(done)


@explain.command()
@click.argument("image")
@_picture_file_option
@_picture_options
@_layer_option
def gradcam(image: str, output: str, layer: str | None, crop: bool, **tools: Any) -> None:
    """Draw where the surest face in IMAGE speaks for each emotion (Grad-CAM).

    Without --layer, at the last convolution.
    """
    from pipeline.chatter import chatter_to

    with chatter_to(os.devnull):
        from pipeline.explain import explain_gradcam
        from pipeline.predict import load_tools

        done = explain_gradcam(image, *load_tools(crop, **tools), layer, output)
    click.echo(done)


@main.command()
@click.argument("source")
@_face_options[0]
@_face_options[1]
@click.option(
    "--min-face",
    default=0.15,
    type=click.FloatRange(0, 1, min_open=True),
    help="Smallest face, as a part of the frame's shorter side; larger is faster.",
)
@_face_options[3]
@_smoothing_options[0]
@_smoothing_options[1]
@click.option("-o", "--output", metavar="FILE.mp4", help="Write the frames with what was seen drawn in.")
@_debug_option
def live(
    source: str,
    detector: str,
    detector_weights: str | None,
    min_face: float,
    model: str,
    smoothing: str,
    window: float | None,
    output: str | None,
) -> None:
    """Name emotions as they are seen: SOURCE is a camera's number, a file, or a URL such as rtsp://….

    Prints one JSON object a frame; Ctrl-C ends it.
    """
    from pipeline.chatter import chatter_to

    with chatter_to(os.devnull) as terminal:
        from pipeline.app.stream import live as watch

        sentence = watch(
            source,
            output,
            detector=detector,
            detector_weights=detector_weights,
            min_face=min_face,
            model=model,
            smoothing=smoothing,
            window_s=window,
        )
        click.echo(f"affectline: {sentence}", file=terminal)


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to serve at; any but this machine needs a token.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@_face_options[3]
@_face_options[1]
@_debug_option
def app(host: str, port: int, no_open: bool, model: str, detector_weights: str | None) -> None:
    """Serve a page for pictures, videos and the webcam, on this machine alone."""
    with _extra("app", "starlette", "uvicorn"):
        from pipeline.app.server import serve
    from pipeline.app.engines import Engines

    engines = Engines(model, Path(detector_weights) if detector_weights else None)
    serve(host, port, engines, open_browser=not no_open, tell=click.echo)


if __name__ == "__main__":
    main()
