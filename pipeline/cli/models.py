"""Commands on models: train, evaluate, look at."""

import json
import os
from pathlib import Path
from typing import Any, Final

import click

from pipeline.cli.command import Command, CommandGroup, Grouped
from pipeline.cli.extras import needs_train_extra
from pipeline.cli.options import debug_option
from pipeline.cli.training_options import data_options, overrides, recipe_options
from schemas.errors import UsageError

_LIBRARIES_LOG: Final = "libraries.log"  # in the folder that a command writes


@click.command(
    cls=Command,
    epilog="What is left out is as in the model's own recipe. Under Phases, VALUE counts for every phase and "
    "PHASE=VALUE for one; such options may be repeated.",
)
@click.argument("model", required=False)
@click.option(
    "--from",
    "start",
    cls=Grouped,
    group="Fine-tuning",
    metavar="NAME|FILE",
    help="Instead of MODEL: a saved model that learns further, from some 40 pictures of each class on.",
)
@click.option(
    "--folds",
    cls=Grouped,
    group="Fine-tuning",
    type=click.IntRange(2),
    help="Hold every picture out once, from so many models, instead of a fifth of each class.",
)
@data_options
@click.option(
    "-o",
    "--output",
    cls=Grouped,
    group="Run",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: MODEL-trained, here]",
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
@debug_option
def train(
    model: str | None,
    start: str | None,
    folds: int | None,
    data: Path,
    votes: Path | None,
    output: Path | None,
    seed: int,
    backbone_weights: str | None,
    **options: Any,
) -> None:
    """Train MODEL, such as cnn48, by its own recipe, or a saved model further.

    Run the same command again to go on after a cut.
    """
    from pipeline.run.stderr import quiet_libraries

    if (model is None) == (start is None):
        raise UsageError(
            "Give either the MODEL to train anew, or the saved one to train further with --from."
        )
    output = output or Path(f"{Path(model or start or '').stem}-trained")
    if model is None:
        assert start is not None
        if votes or backbone_weights:
            raise UsageError("--votes and --backbone-weights go with a MODEL that is trained anew.")
        with quiet_libraries(str(output / _LIBRARIES_LOG)):
            _fine_tune(start, folds, data, output, seed, options)
        return
    if folds:
        raise UsageError("--folds goes with --from.")
    with quiet_libraries(str(output / _LIBRARIES_LOG)):
        with needs_train_extra():
            from models.training import training
        from models.architectures.registry import get_architecture
        from models.training.recipes import changed_recipe

        recipe = changed_recipe(get_architecture(model).recipe, **overrides(options))
        config = training.TrainingConfig(
            model, str(data), seed, recipe, str(votes) if votes else None, backbone_weights
        )
        training.train(config, output)
    click.echo((output / "evaluation" / "evaluation.txt").read_text(encoding="utf-8"), nl=False)


def _fine_tune(
    start: str, folds: int | None, data: Path, output: Path, seed: int, options: dict[str, Any]
) -> None:
    with needs_train_extra():
        from models.training import finetuning
    from models.training.recipes import changed_recipe

    recipe = changed_recipe(finetuning.RECIPE, **overrides(options))
    done = finetuning.fine_tune(start, data, output, recipe, seed, folds)
    click.echo((output / "evaluation" / "evaluation.txt").read_text(encoding="utf-8"))
    click.echo(finetuning.as_text(done, start))
    click.echo(f"The model is {output / 'model.keras'}; --model takes it.")


@click.command(cls=Command)
@click.option(
    "--model",
    "names",
    cls=Grouped,
    group="Models",
    required=True,
    multiple=True,
    metavar="NAME|FILE",
    help="A model by name, or its file; give several to compare them.",
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
@click.option(
    "--predictions",
    cls=Grouped,
    group="Output",
    metavar="FILE.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the answer to every picture: true and predicted class, probabilities.",
)
@debug_option
def evaluate(
    names: tuple[str, ...],
    data: Path,
    votes: Path | None,
    usage: str | None,
    as_json: bool,
    output: Path | None,
    predictions: Path | None,
) -> None:
    """Measure saved models on labelled faces, and set them side by side."""
    from pipeline.run.stderr import quiet_libraries

    with quiet_libraries(str(output / _LIBRARIES_LOG) if output else os.devnull):
        with needs_train_extra():
            from models.training import evaluation

        measured = evaluation.evaluate_all(names, data, usage, votes)
        if output:
            evaluation.write_evaluation(measured, output)
    if predictions:
        predictions.parent.mkdir(parents=True, exist_ok=True)
        evaluation.predictions(measured).to_csv(predictions, index=False, float_format="%.6f")
    click.echo(evaluation.as_json(measured) if as_json else evaluation.as_text(measured))


class _Numbers(click.ParamType):
    """One number, or one a channel, between commas."""

    name = "NUMBER[,…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """The numbers."""
        try:
            return [float(each) for each in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is neither a number nor three of them between commas.", param, ctx)


@click.command(cls=Command)
@click.argument("network", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--classes", metavar="NAME,NAME…", help="What its answers stand for, in their order.")
@click.option(
    "--size", type=click.IntRange(8), help="Side of its pictures; what it says itself when left out."
)
@click.option("--colour", metavar="grey|rgb|bgr", help="Of its pictures; what it says itself when left out.")
@click.option("--mean", type=_Numbers(), help="It gets (pixel - mean) / scale of pixels from 0 to 255.")
@click.option("--scale", type=_Numbers(), help="As --mean; both one number, or one a colour.")
@click.option("--crop", type=float, help="Side of what is cut out, in sides of the face; 1 when left out.")
@click.option("--answers", metavar="logits|probabilities", help="What it gives; tried out when left out.")
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help="Labelled pictures that it did not learn from, one folder a class.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.affectline",
    type=click.Path(path_type=Path),
    help="File to write.",
)
@debug_option
def wrap(network: Path, calibrate: Path | None, output: Path, classes: str | None, **given: Any) -> None:
    """Make one file of a NETWORK in ONNX, LiteRT or Keras and what is known of it; --model takes it.

    A model.toml beside the network may say the same as these options.
    """
    from pipeline.run.stderr import redirect_stderr

    said = {key: value for key, value in given.items() if value is not None}
    if classes:
        said["classes"] = [name.strip() for name in classes.split(",")]
    with redirect_stderr(os.devnull):
        from pipeline.commands.wrap import wrap as make
        from pipeline.commands.wrap import wrap_lines

        done = make(network, said, calibrate, output)
    for line in wrap_lines(done):
        click.echo(line)


@click.group("models", cls=CommandGroup, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
@click.pass_context
def models_group(ctx: click.Context, as_json: bool) -> None:
    """List the models that can be built and trained by name."""
    from models.inspect.catalogue import as_text, catalogue

    if ctx.invoked_subcommand is None:
        entries = catalogue()
        click.echo(json.dumps(entries, indent=2) if as_json else as_text(entries))


@models_group.command("show", cls=Command)
@click.argument("model", metavar="NAME|FILE")
@click.option("-o", "--output", metavar="FILE.png", help="The picture to write.  [default: NAME.png, here]")
@debug_option
def show_model(model: str, output: str | None) -> None:
    """Print a model's layers and draw them; of a network made elsewhere, what is known of it."""
    from models.classify.spec import find_model, is_saved
    from pipeline.run.stderr import quiet_libraries

    saved = find_model(model) if is_saved(model) else None
    if saved and saved.spec.wrapped:
        click.echo(saved.spec.wrapped.as_toml() + f"\nSHA-256 {saved.sha256}")
        return
    picture = output or f"{Path(model).stem if model.endswith('.keras') else model}.png"
    if not picture.endswith(".png"):
        raise UsageError(f"'{picture}' is no name for a picture; give one that ends in .png.")
    with quiet_libraries():
        from models.inspect.catalogue import network_of
        from models.inspect.diagram import layer_table, layered_picture

        network = network_of(model)
        try:
            layered_picture(network).save(picture)
        except OSError as error:
            raise UsageError(f"'{picture}' cannot be written: {error.strerror}.") from error
        table = layer_table(network)
    click.echo(table)
    click.echo(f"Drawn in {picture}.")
