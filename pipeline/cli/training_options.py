"""The options of `affectline train` and `evaluate`: where faces come from, and every piece of a recipe."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli.command import Grouped
from schemas.emotions import canonical_emotion


class _PerPhase(click.ParamType):
    """VALUE for every phase, or PHASE=VALUE for one; becomes (phase or None, value)."""

    def __init__(self, value_type: click.ParamType) -> None:
        self.value_type = value_type
        self.name = value_type.name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """How the help shows a value."""
        return f"[PHASE=]{self.value_type.get_metavar(param, ctx) or self.name.upper()}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, Any]:
        """Split at the last equals sign and convert what follows."""
        phase, _, text = value.rpartition("=")
        return phase or None, self.value_type.convert(text, param, ctx)


class _Backbone(click.ParamType):
    """Which layers of the backbone train."""

    name = "trained|frozen|FIRST:LAST"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """How the help shows a value."""
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | tuple[int, int]:
        """The word, or the two numbers."""
        if value in ("trained", "frozen"):
            return str(value)
        first, colon, last = value.partition(":")
        if not (colon and first.isdecimal() and last.isdecimal()):
            self.fail(
                f"{value!r} is none of trained, frozen or two layer numbers such as 160:175.", param, ctx
            )
        return int(first), int(last)


class _ClassBoost(click.ParamType):
    """CLASS=FACTOR."""

    name = "CLASS=FACTOR"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """The class under its usual name, and the factor."""
        name, _, factor = value.partition("=")
        try:
            return canonical_emotion(name), click.FloatRange(0, min_open=True).convert(factor, param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where labelled faces come from, for `train` and `evaluate` alike."""
    path = click.Path(exists=True, path_type=Path)
    options = [
        click.option(
            "--data",
            cls=Grouped,
            group="Data",
            required=True,
            type=path,
            help="Parquet file (label, image), fer2013.csv, or folder of pictures, one folder a class "
            "(perhaps below train/, validation/ and test/).",
        ),
        click.option(
            "--votes",
            cls=Grouped,
            group="Data",
            type=path,
            help="FER+ votes for a fer2013.csv; fer2013new.csv beside it when left out.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


# The options of `train` that change a recipe, by the part of it that they change and its field.
_Options = dict[str, tuple[click.ParamType, str]]
_POSITIVE = click.FloatRange(0, min_open=True)
_PART = click.FloatRange(0, 1, max_open=True)
_PHASE_OPTIONS: _Options = {
    "epochs": (click.IntRange(0), "At most so many; 0 skips a phase."),
    "learning_rate": (_POSITIVE, "After the warm-up."),
    "optimizer": (click.Choice(["adam", "adamw", "sgd"]), "sgd has Nesterov momentum 0.9."),
    "weight_decay": (click.FloatRange(0), "Decoupled from the gradient."),
    "warmup_epochs": (click.FloatRange(0), "Epochs in which the learning rate climbs from a tenth."),
    "schedule": (click.Choice(["constant", "cosine"]), "Of the learning rate, after the warm-up."),
    "backbone": (_Backbone(), "Which of the backbone's layers train."),
}
_RECIPE_OPTIONS: _Options = {
    "batch_size": (click.IntRange(1), "Pictures a step."),
    "labels": (click.Choice(["ferplus", "fer2013", "both"]), "Which labels of FER2013's pictures to learn."),
    "validation_fraction": (
        click.FloatRange(0, 1, min_open=True, max_open=True),
        "Part of the training pictures held out, where the data has no validation/.",
    ),
    "monitor": (click.Choice(["loss", "accuracy"]), "Validation figure that picks the epoch to keep."),
    "early_stopping": (click.IntRange(0), "Epochs in vain that end a phase; 0: never."),
    "plateau": (click.IntRange(0), "Epochs in vain that lower the learning rate; 0: never."),
    "plateau_factor": (click.FloatRange(0, 1, min_open=True, max_open=True), "By which it is lowered."),
    "class_weights": (click.Choice(["none", "balanced"]), "balanced: rare classes count more."),
    "loss": (click.Choice(["cross-entropy", "focal"]), "What is minimised."),
    "focal_gamma": (click.FloatRange(0), "How much the focal loss favours hard pictures."),
    "label_smoothing": (_PART, "Part of each target spread over all classes."),
    "ema_momentum": (_PART, "Of the averaged weights that are kept; 0: no averaging."),
}
_AUGMENTATION_OPTIONS: _Options = {
    "rotation": (click.FloatRange(0, 180), "Degrees either way."),
    "shift": (_PART, "Part of the side, either way."),
    "shear": (click.FloatRange(0), "Slope, either way."),
    "zoom": (_PART, "0.1: each axis from 0.9 to 1.1."),
    "brightness": (click.FloatRange(0, 1), "0.1: pixels times 0.9 to 1.1."),
    "contrast": (click.FloatRange(0, 1), "The same about the picture's mean."),
    "cutout": (_PART, "Largest area of a grey rectangle."),
    "fill": (click.Choice(["nearest", "constant"]), "What comes in from outside: the border, or black."),
}


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every piece of a recipe as an option, for `train`."""

    def flag(field: str) -> str:
        return "--" + field.replace("_", "-")

    options = [
        *(
            click.option(
                flag(field), cls=Grouped, group="Phases", multiple=True, type=_PerPhase(type_), help=text
            )
            for field, (type_, text) in _PHASE_OPTIONS.items()
        ),
        *(
            click.option(flag(field), cls=Grouped, group="Recipe", type=type_, help=text)
            for field, (type_, text) in _RECIPE_OPTIONS.items()
        ),
        click.option(
            "--class-boost",
            "class_boosts",
            cls=Grouped,
            group="Recipe",
            multiple=True,
            type=_ClassBoost(),
            help="A class's weight times a factor, such as disgust=3.",
        ),
        click.option(
            "--mixed-precision/--full-precision",
            cls=Grouped,
            group="Recipe",
            default=None,
            help="Compute in bfloat16, or in float32.",
        ),
        *(
            click.option(flag(field), cls=Grouped, group="Augmentation", type=type_, help=text)
            for field, (type_, text) in _AUGMENTATION_OPTIONS.items()
        ),
        click.option(
            "--flip/--no-flip", cls=Grouped, group="Augmentation", default=None, help="Left for right."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options of `recipe_options` say, as arguments of `models.training.recipes.changed_recipe`."""
    given = {name: value for name, value in options.items() if value is not None}
    values = {name: given[name] for name in (*_RECIPE_OPTIONS, "mixed_precision") if name in given}
    for patience in {"early_stopping", "plateau"} & values.keys():
        values[patience] = values[patience] or None
    return {
        "values": values,
        "augmentation": {name: given[name] for name in (*_AUGMENTATION_OPTIONS, "flip") if name in given},
        "phases": {name: given[name] for name in _PHASE_OPTIONS},
        "class_boosts": dict(given["class_boosts"]),
    }
