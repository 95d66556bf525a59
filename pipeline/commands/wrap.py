"""`affectline wrap`: a network made elsewhere, its description and its calibration in one file."""

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.classify.runtimes import WrappedNetwork, guess
from models.classify.wrapped import (
    COLOURS,
    DESCRIPTION,
    ENDING,
    NETWORK_ENDINGS,
    Description,
    Wrapped,
    describe,
    endings,
    require_keys,
)
from schemas.errors import UsageError
from schemas.extras import needs_extra


@dataclass(frozen=True)
class WrappedFile:
    """What was written. log_loss: on the pictures of the calibration, before it and after; None without."""

    path: Path
    sha256: str
    description: Description
    log_loss: tuple[float, float] | None


def wrap(network: Path, given: Mapping[str, Any], calibrate: Path | None, output: Path) -> WrappedFile:
    """Write a network and its description into one file that every `--model` takes.

    network: a file that ends in one of NETWORK_ENDINGS. given: values of the description, by key, before
    those of a `model.toml` beside the network, before what the network itself tells. calibrate: labelled
    pictures that it did not learn from.

    Raises UsageError for a network that cannot be run so, and when the file cannot be written.
    """
    if network.suffix not in NETWORK_ENDINGS:
        raise UsageError(
            f"'{network}' does not end in {endings(NETWORK_ENDINGS)}; export it as one of these."
        )
    if output.suffix != ENDING:
        raise UsageError(f"'{output}' does not end in {ENDING}; name it so.")
    beside = network.with_name(DESCRIPTION)
    said: dict[str, Any] = {"mean": 0.0, "scale": 1.0}
    try:
        content = network.read_bytes()
        if beside.is_file():
            said |= tomllib.loads(beside.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"'{network}' or its {DESCRIPTION} cannot be read: {error}.") from error
    said |= given
    name = f"affectline wrap {network}"
    stand_in = {"size": 8, "colour": "rgb", "classes": ["happy", "sad"], "answers": "logits"}
    draft = describe(stand_in | {key: said[key] for key in ("mean", "scale")}, name)
    said = guess(Wrapped(draft, network.suffix, content)) | said
    require_keys(said, name)
    wrapped = Wrapped(describe(said, name), network.suffix, content)
    _try(wrapped)
    log_loss = None
    if calibrate:
        with needs_extra("train", "sklearn", "matplotlib"):
            from models.training.calibration import calibrate_wrapped

        wrapped, *losses = calibrate_wrapped(wrapped, calibrate)
        log_loss = losses[0], losses[1]
    file = wrapped.as_file()
    _write(file, output)
    return WrappedFile(output, hashlib.sha256(file).hexdigest(), wrapped.description, log_loss)


def _try(wrapped: Wrapped) -> None:
    said = wrapped.description
    run = WrappedNetwork(wrapped)
    nothing = np.zeros((run.batch or 1, said.size, said.size, COLOURS[said.colour]), np.uint8)
    if not np.isfinite(run(nothing)).all():
        raise UsageError("Its weights are no numbers; train it again.")


def _write(content: bytes, output: Path) -> None:
    partial = output.with_name(f".{output.name}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"'{output}' cannot be written: {error.strerror}.") from error


def wrap_lines(done: WrappedFile) -> Iterator[str]:
    """The lines to print afterwards."""
    yield from done.description.as_toml().splitlines()
    yield ""
    if done.log_loss:
        before, after = done.log_loss
        yield f"Calibrated: log loss {before:.3f} before, {after:.3f} after."
    yield f"{done.path}: SHA-256 {done.sha256}."
