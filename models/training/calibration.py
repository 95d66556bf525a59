"""Calibration of a trained model on pictures it was not trained on: temperature, prior, sharpness."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from models.classify.output import ClassProbabilities
from models.classify.prior import flattened_prior
from models.classify.runtimes import WrappedNetwork
from models.classify.sharpness import Softening, sharpness, soften
from models.classify.wrapped import COLOURS, Wrapped
from models.training.batches import batches
from models.training.data import (
    HELD_OUT,
    LabelledFaces,
    fit_picture,
    hard_labels,
    held_out_rows,
    soft_targets,
)
from models.training.datasets import measured_usage, read_usage
from models.training.training import fit_temperature
from schemas.errors import UsageError

_BATCH: Final = 256  # pictures a step
_STEEPEST: Final = 10.0  # slope of a softening: anything above says nothing of a face a little blurred


def blurred(pictures: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with a deviation of `sigma` 48ths of the side; uint8 [N, H, W, ...] in and out."""
    deviation = sigma * pictures.shape[1] / 48
    return np.stack([cv2.GaussianBlur(picture, (0, 0), deviation) for picture in pictures]).reshape(
        pictures.shape
    )


def shrunk(pictures: np.ndarray, size: int) -> np.ndarray:
    """Faces that had `size` pixels in the video, enlarged to crops; uint8 [N, H, W, ...] in and out."""
    shape = pictures.shape[2:0:-1]
    small = (cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in pictures)
    return np.stack(
        [cv2.resize(picture, shape, interpolation=cv2.INTER_LINEAR) for picture in small]
    ).reshape(pictures.shape)


# What videos do to faces, from harmless to hopeless, in pixels of a crop of 48.
_DEGRADATIONS: Final = (
    *(partial(blurred, sigma=sigma) for sigma in (1, 2, 4)),
    *(partial(shrunk, size=size) for size in (24, 16, 12, 8)),
)


def recalibrate_held_out(model: keras.Model, faces: LabelledFaces, labels: str, tau: float) -> keras.Model:
    """`recalibrate` on the held-out tenth of FER2013's Training, with the prior of the rest.

    faces: all of Training, in its own size. labels: what the model was trained on: "ferplus", "fer2013" or
    "both".
    """
    held_out = held_out_rows(faces.images, HELD_OUT)
    targets, labelled = soft_targets(faces, labels)
    prior = targets[labelled & ~held_out].astype(np.float64).mean(axis=0)
    truth, known = hard_labels(faces, "fer2013" if labels == "fer2013" else "ferplus")
    mine = held_out & known
    _, size, _, channels = model.input_shape
    pictures = np.stack([fit_picture(image, size, channels) for image in faces.images[mine]])
    return recalibrate(model, pictures, truth[mine], prior, tau)


def recalibrate(
    model: keras.Model, pictures: np.ndarray, truth: np.ndarray, prior: np.ndarray, tau: float = 0.0
) -> keras.Model:
    """The same network with a head fitted anew; it shares the weights.

    model: one that ends in ClassProbabilities. pictures: uint8 [N, H, W, C], held out from training.
    truth: int [N], the class of each. prior: float [K], the share of each class in what the model was
    trained on. tau: how far its probabilities go from that prior (0) to an even one (1).

    The temperature makes the truth most likely with sharp pictures under the training prior; the
    softening does so with the same pictures blurred and shrunk. Raises ValueError for another model
    and for a class without a share.
    """
    head = model.layers[-1]
    if not isinstance(head, ClassProbabilities):
        raise ValueError("Only a model saved by affectline train can be calibrated anew.")
    if (np.asarray(prior) <= 0).any():
        raise ValueError("Every class needs a share above 0 in the training data's prior.")
    network = keras.Model(model.input, head.input)
    temperature, softening = fit_calibration(
        lambda versions: network.predict(batches(_BATCH, versions), verbose=0), pictures, truth
    )
    settings = head.get_config() | {
        "temperature": temperature,
        "prior": {
            "training": flattened_prior(prior, 0).tolist(),
            "assumed": flattened_prior(prior, tau).tolist(),
        },
        "softening": asdict(softening),
    }
    return keras.Model(model.input, ClassProbabilities(**settings)(head.input), name=model.name)


def fit_calibration(
    logits_of: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, truth: np.ndarray
) -> tuple[float, Softening]:
    """The temperature and the softening of a network, as `recalibrate` describes them.

    logits_of: from pictures, uint8 [N, H, W, C], to float [N, K]. truth: int [N], the class of each picture.
    """
    # Each way to be unsharp has its part of the pictures: as many in all as there are sharp ones.
    parts = [np.arange(start, len(pictures), len(_DEGRADATIONS)) for start in range(len(_DEGRADATIONS))]
    rows = np.concatenate([np.arange(len(pictures)), *parts])
    unsharp = [change(pictures[part]) for change, part in zip(_DEGRADATIONS, parts, strict=True) if len(part)]
    versions = np.concatenate([pictures, *unsharp])
    logits = logits_of(versions)
    temperature = fit_temperature(logits[: len(pictures)], truth)
    return temperature, fit_softening(softmax(logits / temperature, axis=1), sharpness(versions), truth[rows])


def calibrate_wrapped(wrapped: Wrapped, data: Path) -> tuple[Wrapped, float, float]:
    """A network made elsewhere, calibrated on labelled pictures that it did not learn from.

    Returns it with its log loss on them before and after. Raises UsageError for data without pictures of its
    classes, and as `WrappedNetwork` does.
    """
    said = replace(wrapped.description, temperature=1.0, softening=None)
    part = measured_usage(data)
    faces = read_usage(data, part, said.size, COLOURS[said.colour], classes=said.classes)
    truth, known = hard_labels(faces, "fer2013", said.classes)
    if not known.any():
        raise UsageError(f"'{data}' has no picture of {' or '.join(said.classes)}; give some of each.")
    network = WrappedNetwork(replace(wrapped, description=said))
    pictures, truth = faces.images[known], truth[known]

    def logits_of(versions: np.ndarray) -> np.ndarray:
        size = network.batch or _BATCH
        padded = np.concatenate([versions, np.zeros((-len(versions) % size, *versions.shape[1:]), np.uint8)])
        parts = [network.logits(padded[at : at + size]) for at in range(0, len(padded), size)]
        logits: np.ndarray = np.concatenate(parts)[: len(versions)]
        return logits

    temperature, softening = fit_calibration(logits_of, pictures, truth)
    logits = logits_of(pictures)
    before, after = (
        float(-log_softmax(logits / each, axis=1)[np.arange(len(truth)), truth].mean())
        for each in (1.0, temperature)
    )
    described = replace(said, temperature=temperature, softening=softening)
    return replace(wrapped, description=described), before, after


def fit_softening(probabilities: np.ndarray, sharp: np.ndarray, truth: np.ndarray) -> Softening:
    """The knee and slope that make the truth most likely.

    probabilities: float [N, K]. sharp: float [N], from `sharpness`. truth: int [N], the class of each.
    """

    def log_loss(parameters: np.ndarray) -> float:
        softer = soften(probabilities, sharp, Softening(knee=parameters[0], slope=parameters[1]))
        likelihood = np.maximum(softer[np.arange(len(truth)), truth], 1e-9)
        return float(-np.log(likelihood).mean())

    # The loss is flat where the knee lies below all crops, so the search starts at several places.
    starts = [(knee, 0.5) for knee in np.quantile(sharp, (0.25, 0.5, 0.75))]
    bounds = (None, None), (0.0, _STEEPEST)
    fits = (minimize(log_loss, start, method="Nelder-Mead", bounds=bounds) for start in starts)
    best = min(fits, key=lambda fit: fit.fun)
    return Softening(knee=float(best.x[0]), slope=float(best.x[1]))
