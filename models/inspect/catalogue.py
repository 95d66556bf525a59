"""What there is: every architecture with its size and the weights that ship for it, without Keras."""

from typing import Any

from models.architectures.registry import ARCHITECTURES, build_at_random
from models.classify.classifier import load_network
from models.classify.spec import ModelRef, find_model, installed_models, is_saved, shipped_weights
from models.entry_points import MODELS, brought, origin
from models.inspect.data_sets import LEARNED_FROM
from models.inspect.text_table import format_table
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError


def catalogue() -> list[dict[str, Any]]:
    """One entry an architecture, then one a model of other installed packages, ready for JSON.

    Keys: name, parameters and trainable_parameters (None for those of other packages), input_shape ([height,
    width, channels]), classes (names, in the order of the probabilities), weights (those in the package, none
    to several: name, file, input_shape, data and terms, what they learned from and what its makers allow),
    source (the reference system, see docs/models.md; or the other package).
    """
    shipped = [find_model(name) for name in shipped_weights()]
    return [
        {
            "name": architecture.name,
            "parameters": architecture.parameters,
            "trainable_parameters": architecture.trainable_parameters,
            "input_shape": [architecture.input_size, architecture.input_size, architecture.channels],
            "classes": list(architecture.classes),
            "weights": [_weights(model) for model in shipped if model.spec.architecture == architecture.name],
            "source": architecture.source,
        }
        for architecture in ARCHITECTURES.values()
    ] + [_installed(find_model(name)) for name in installed_models()]


def _installed(model: ModelRef) -> dict[str, Any]:
    spec = model.spec
    shape = [spec.input_size, spec.input_size, spec.channels]
    weights = {"name": model.name, "file": model.path.name, "input_shape": shape, "data": [], "terms": ""}
    return {
        "name": model.name,
        "parameters": None,
        "trainable_parameters": None,
        "input_shape": shape,
        "classes": list(spec.classes),
        "weights": [weights],
        "source": origin(brought(MODELS)[model.name]),
    }


def _weights(model: ModelRef) -> dict[str, Any]:
    spec, learned_from = model.spec, LEARNED_FROM[model.name]
    return {
        "name": model.name,
        "file": model.path.name,
        "input_shape": [spec.input_size, spec.input_size, spec.channels],
        "data": [data.name for data in learned_from],
        "terms": " ".join(data.terms for data in learned_from),
    }


def as_text(entries: list[dict[str, Any]]) -> str:
    """The entries of `catalogue` as a table to read."""
    rows = [("name", "parameters", "trainable", "input", "classes", "weights", "source")]
    for entry in entries:
        every = entry["classes"] == [*EMOTIONS]
        rows.append(
            (
                entry["name"],
                _counted(entry["parameters"]),
                _counted(entry["trainable_parameters"]),
                "x".join(map(str, entry["input_shape"])),
                "all seven" if every else ", ".join(entry["classes"]),
                ", ".join(weights["name"] for weights in entry["weights"]) or "none",
                entry["source"],
            )
        )
    return "\n".join(format_table(rows, numbers=(1, 2)))


def _counted(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def network_of(name: str) -> Any:
    """The Keras model of an architecture, untrained, or of a saved model.

    name: of an architecture or of a saved model, or a path.

    Raises UsageError when there is no such model or the file is not one of ours.
    """
    if is_saved(name):
        return load_network(find_model(name))
    if name not in ARCHITECTURES:
        choices = ", ".join([*ARCHITECTURES, *shipped_weights()])
        raise UsageError(f"There is no model '{name}'; choose {choices}, or the path of a model's file.")
    return build_at_random(ARCHITECTURES[name])
