"""The `affectline` command: options in, results out, and nothing else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

_data_option = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="FER2013 Parquet file.",
)


@contextmanager
def _train_extra() -> Iterator[None]:
    """Around imports that need what only training and evaluation use."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("sklearn", "matplotlib"):
            raise
        raise click.ClickException(
            f"{package} is not installed; get it with: pip install 'affectline[train]'"
        ) from error


@click.group()
def main() -> None:
    """Emotion timelines from videos."""


@main.command()
@click.option("--model", required=True, metavar="NAME", help="Architecture to train, such as cnn48.")
@_data_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--labels", type=click.Choice(["ferplus", "fer2013", "both"]), default="both", show_default=True
)
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the model's own recipe.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the model's own recipe.")
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Default: the model's own recipe."
)
@click.option("--seed", type=int, default=0, show_default=True)
def train(
    model: str,
    data: Path,
    output: Path,
    labels: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
) -> None:
    """Train a model; run the same command again to resume."""
    with _train_extra():
        from models import evaluation, training
    from models.classifier import load_classifier
    from models.data import read_parquet
    from models.registry import get_architecture

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    try:
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        recipe = replace(get_architecture(model).recipe, **chosen)
        path = training.train(training.TrainingConfig(model, str(data), labels, seed, recipe), output)
        figures = evaluation.evaluate(load_classifier(str(path)), read_parquet(data, "PublicTest"))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    (output / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    click.echo(evaluation.as_text(figures))


@main.command()
@click.option("--model", required=True, metavar="NAME|FILE", help="Saved weights by name, or a .keras file.")
@_data_option
@click.option("--usage", default="PublicTest", show_default=True, help="Which part of the data.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def evaluate(model: str, data: Path, usage: str, as_json: bool) -> None:
    """Measure a saved model on labelled faces."""
    with _train_extra():
        from models import evaluation
    from models.classifier import load_classifier
    from models.data import read_parquet

    try:
        figures = evaluation.evaluate(load_classifier(model), read_parquet(data, usage))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(figures) if as_json else evaluation.as_text(figures))


if __name__ == "__main__":
    main()
