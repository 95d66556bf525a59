"""The `affectline` command: options in, results out, and nothing else."""

from dataclasses import replace
from pathlib import Path

import click


@click.group()
def main() -> None:
    """Emotion timelines from videos."""


@main.command()
@click.option("--model", required=True, metavar="NAME", help="Architecture to train, such as cnn48.")
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False), help="FER2013 Parquet file.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--labels", type=click.Choice(["ferplus", "fer2013", "both"]), default="both", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the model's own recipe.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the model's own recipe.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Default: the model's own recipe.")
@click.option("--seed", type=int, default=0, show_default=True)
def train(
    model: str,
    data: str,
    output: Path,
    labels: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
) -> None:
    """Train a model; run the same command again to resume."""
    from models import training
    from models.registry import get_architecture

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    try:
        recipe = replace(
            get_architecture(model).recipe, **{name: value for name, value in given.items() if value is not None}
        )
        path = training.train(training.TrainingConfig(model, data, labels, seed, recipe), output)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(path)


if __name__ == "__main__":
    main()
