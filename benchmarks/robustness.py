"""How a classifier bears what videos do to faces: PublicTest, degraded and found again.

    python -m benchmarks.robustness --data fer2013.parquet [--model NAME] [--yunet-weights FILE]
        [--plot FILE.png] [--json]

Figures are against FER+'s labels and FER2013's own. Pictures that are found again lie on a larger canvas
(see `benchmarks.redetection`), and are cropped as the pipeline crops.
"""

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import click
import cv2
import numpy as np

from benchmarks.detection import table
from benchmarks.redetection import MARGIN, SIDE, compose, load_detectors, redetect
from models.classify.classifier import Classifier, load_classifier
from models.classify.crop import make_crop
from models.crop_spec import CropSpec
from models.detectors import Box, Detector, FaceFrame
from models.training.calibration import blurred, shrunk
from models.training.data import LabelledFaces, fit_picture, read_parquet
from models.training.evaluation import expected_calibration_error
from schemas.emotions import EMOTIONS

# All pictures at once, uint8 [N, 48, 48], to as many of the same form.
Degradation = Callable[[np.ndarray], np.ndarray]

SIZE: Final = 48
ANGLES: Final = (0, 10, 20, 30)
SCALES: Final = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
ASIDE: Final = (0, 0.1, 0.2, 0.35, 0.6, np.inf)
LABELS: Final = ("ferplus", "fer2013")


def each(change: Callable[[np.ndarray], np.ndarray]) -> Degradation:
    """The change of one picture, done to all."""
    return lambda pictures: np.stack([change(picture) for picture in pictures])


def jpeg(quality: int) -> Degradation:
    """JPEG at that quality, as 48 pixels."""

    def change(picture: np.ndarray) -> np.ndarray:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        again = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        assert again is not None
        return again

    return each(change)


def h264(pictures: np.ndarray, crf: int) -> np.ndarray:
    """One video of all pictures at twice their size; each is a cut, so each is coded for itself."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as writer:
        stream = writer.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "medium"})
        stream.width = stream.height = 2 * SIZE
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            rgb = cv2.cvtColor(cv2.resize(picture, None, fx=2, fy=2), cv2.COLOR_GRAY2RGB)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        writer.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as reader:
        frames = [frame.to_ndarray(format="rgb24") for frame in reader.decode(video=0)]
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    return np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in grey])


def light(gain: float = 1.0, offset: float = 0.0, gamma: float = 1.0) -> Degradation:
    """255 * (gain * (v / 255 - 1/2) + 1/2 + offset) ** gamma, clipped."""
    value = np.clip(gain * (np.arange(256) / 255 - 0.5) + 0.5 + offset, 0, 1) ** gamma
    return lambda pictures: np.round(255 * value).astype(np.uint8)[pictures]


def tinted(red: float, green: float, blue: float) -> Degradation:
    """Coloured light, stored with chroma of half the size (YUV 4:2:0), and made grey as crops are."""
    tint = np.array([red, green, blue])

    def change(picture: np.ndarray) -> np.ndarray:
        rgb: np.ndarray = np.round(np.clip(picture[..., None] * tint, 0, 255)).astype(np.uint8)
        stored = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        return cv2.cvtColor(cv2.cvtColor(stored, cv2.COLOR_YUV2RGB_I420), cv2.COLOR_RGB2GRAY)

    return each(change)


def noise(pictures: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian noise in every pixel, in grey levels."""
    drawn = np.random.default_rng(0).normal(0, deviation, pictures.shape)
    return np.clip(np.round(pictures + drawn), 0, 255).astype(np.uint8)


def moved(angle: float = 0.0, scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> Degradation:
    """A crop turned, wider (scale above 1) or shifted by a part of its side; the border is repeated."""

    def change(picture: np.ndarray) -> np.ndarray:
        middle = (SIZE - 1) / 2
        matrix = cv2.getRotationMatrix2D((middle, middle), angle, 1 / scale)
        matrix[:, 2] -= np.array([right, down]) * SIZE / scale  # type: ignore[arg-type]
        return cv2.warpAffine(picture, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)

    return each(change)


DEGRADATIONS: Final[dict[str, dict[str, Degradation]]] = {
    "none": {"": lambda pictures: pictures},
    "blur, sigma": {f"{sigma:g}": partial(blurred, sigma=sigma) for sigma in (0.5, 1, 1.5, 2, 3, 4)},
    "pixels of the face": {str(size): partial(shrunk, size=size) for size in (40, 32, 24, 20, 16, 12, 8)},
    "JPEG quality": {str(quality): jpeg(quality) for quality in (75, 50, 30, 15, 5)},
    "H.264 CRF": {str(crf): partial(h264, crf=crf) for crf in (18, 28, 34, 40, 46)},
    "noise, deviation": {str(level): partial(noise, deviation=level) for level in (4, 8, 16, 32)},
    "brightness": {f"{offset:+g}": light(offset=offset) for offset in (-0.4, -0.2, 0.2, 0.4)},
    "contrast": {f"{gain:g}": light(gain=gain) for gain in (0.25, 0.5, 1.5, 2)},
    "gamma": {f"{gamma:g}": light(gamma=gamma) for gamma in (0.4, 0.7, 1.5, 2.5)},
    "4:2:0 and tint": {
        "none": tinted(1, 1, 1),
        "warm": tinted(1.1, 0.9, 0.6),
        "blue": tinted(0.5, 0.8, 1.2),
    },
    "turned, degrees": {str(angle): moved(angle=angle) for angle in (5, 10, 15, 20, 30, 45)},
    "crop's scale": {f"{scale:g}": moved(scale=scale) for scale in (0.7, 0.8, 0.9, 1.1, 1.2, 1.4)},
    "shift right": {f"{part:g}": moved(right=part) for part in (0.05, 0.1, 0.2)},
    "shift down": {f"{part:+g}": moved(down=part) for part in (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)},
}


def figures(faces: LabelledFaces, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, mean recall of the classes, and calibration, by labels; and how often `neutral` is said."""
    result = {}
    for labels in LABELS:
        known = faces.agreed if labels == "ferplus" else np.ones(len(faces), bool)
        truth = (faces.ferplus if labels == "ferplus" else faces.fer2013)[known]
        right = probabilities[known].argmax(axis=1) == truth
        result[labels] = float(right.mean())
        result[f"{labels}_balanced"] = float(np.mean([right[truth == k].mean() for k in np.unique(truth)]))
        result[f"{labels}_ece"] = expected_calibration_error(truth, probabilities[known])
    result["said_neutral"] = float((probabilities.argmax(axis=1) == EMOTIONS.index("neutral")).mean())
    result["confidence"] = float(probabilities.max(axis=1).mean())
    return result


def said(classifier: Classifier, pictures: np.ndarray) -> np.ndarray:
    """The probabilities, [N, 7], of grey pictures of any size, uint8 [N, H, W, ...]."""
    spec = classifier.spec
    fitted = [fit_picture(picture, spec.input_size, spec.channels) for picture in pictures]
    return classifier.predict(np.stack(fitted))


def degraded(classifier: Classifier, faces: LabelledFaces) -> list[dict[str, Any]]:
    """Figures of every kind and level of degradation."""
    return [
        {"kind": kind, "level": level} | figures(faces, said(classifier, change(faces.images[..., 0])))
        for kind, levels in DEGRADATIONS.items()
        for level, change in levels.items()
    ]


# The box of each picture in its scene, None where it is not found again, by angle and detector.
Boxes = dict[int, dict[str, list[Box | None]]]


def find_again(faces: LabelledFaces, detectors: dict[str, Detector]) -> Boxes:
    """The boxes of the faces at every angle."""
    boxes: Boxes = {}
    for angle in ANGLES:
        scenes = [compose(picture, angle) for picture in faces.images[..., 0]]
        boxes[angle] = {name: redetect(detector, scenes) for name, detector in detectors.items()}
    return boxes


def found_again(classifier: Classifier, faces: LabelledFaces, boxes: Boxes) -> list[dict[str, Any]]:
    """Recall of each detector, and figures of the faces it finds, by tilt and by what the crop follows.

    frame: the face's own frame, upright. box: the detector's box. box and tilt: its box and its marks.
    """
    rows = []
    for angle, by_detector in boxes.items():
        for name, of_faces in by_detector.items():
            found = [
                (compose(picture), compose(picture, angle), box.frame)
                for picture, box in zip(faces.images[..., 0], of_faces, strict=True)
                if box
            ]
            middle = MARGIN + SIDE / 2
            crops = {
                "frame": [(upright, FaceFrame(middle, middle, SIDE, 0)) for upright, _, _ in found],
                "box": [(scene, frame._replace(roll=0)) for _, scene, frame in found],
                "box and tilt": [(scene, frame) for _, scene, frame in found],
            }
            known = np.array([box is not None for box in of_faces])
            for cut, pieces in crops.items():
                pictures = np.stack([make_crop(scene, frame, classifier.spec) for scene, frame in pieces])
                values = figures(faces.take(known), classifier.predict(pictures))
                recall = float(known.mean())
                rows.append({"degrees": angle, "detector": name, "cut_by": cut, "recall": recall, **values})
    return rows


def rescaled(classifier: Classifier, faces: LabelledFaces, boxes: Boxes) -> list[dict[str, Any]]:
    """Figures of the upright faces that each detector finds again, by how much of their frame is cut out."""
    rows = []
    for name, of_faces in boxes[0].items():
        known = np.array([box is not None for box in of_faces])
        found = [
            (compose(picture), box.frame)
            for picture, box in zip(faces.images[..., 0], of_faces, strict=True)
            if box
        ]
        for scale in SCALES:
            spec = replace(classifier.spec, crop=CropSpec(scale))
            pictures = np.stack([make_crop(scene, frame, spec) for scene, frame in found])
            values = figures(faces.take(known), classifier.predict(pictures))
            rows.append({"detector": name, "scale": scale, **values})
    return rows


def oblique(classifier: Classifier, faces: LabelledFaces, yunet_weights: Path) -> list[dict[str, Any]]:
    """Figures by how far heads are turned aside: nose from the middle of the eyes, in eye distances."""
    network = cv2.FaceDetectorYN.create(str(yunet_weights), "", (32, 32), score_threshold=0.5)
    aside = np.full(len(faces), np.nan)
    for index, picture in enumerate(faces.images[..., 0]):
        scene = compose(picture)
        network.setInputSize(scene.shape[1::-1])
        _, found = network.detect(cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))
        if found is not None:
            eyes, nose = found[0, 4:8].reshape(2, 2), found[0, 8:10]
            aside[index] = abs(nose[0] - eyes[:, 0].mean()) / np.linalg.norm(eyes[1] - eyes[0])
    rows = []
    for low, high in itertools.pairwise(ASIDE):
        mine = (aside >= low) & (aside < high)
        if not mine.any():
            continue
        values = figures(faces.take(mine), said(classifier, faces.images[mine]))
        rows.append({"aside": f"{low:g} to {high:g}", "pictures": int(mine.sum())} | values)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """One panel a kind of degradation: accuracy over its levels."""
    from matplotlib.figure import Figure

    kinds = [kind for kind in DEGRADATIONS if kind != "none"]
    clean = rows[0]
    figure = Figure(figsize=(14, 9), layout="constrained")
    panels = figure.subplots(4, 4, sharey=True).ravel()
    for panel, kind in zip(panels, kinds, strict=False):
        mine = [row for row in rows if row["kind"] == kind]
        levels = [row["level"] for row in mine]
        for name, label, color in (
            ("ferplus", "accuracy, FER+", "#0072b2"),
            ("ferplus_balanced", "balanced, FER+", "#d55e00"),
            ("fer2013", "accuracy, FER2013", "#8c8c8c"),
        ):
            panel.plot(levels, [row[name] for row in mine], "o-", color=color, label=label)
            panel.axhline(clean[name], color=color, linewidth=0.6, linestyle=":")
        panel.set_title(kind)
        panel.grid(alpha=0.3)
    for panel in panels[len(kinds) :]:
        panel.set_axis_off()
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=110)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default="default", show_default=True)
@click.option("--yunet-weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pictures", default=600, show_default=True, help="How many of PublicTest; 0: all.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture of the first table.")
@click.option("--json", "as_json", is_flag=True)
def main(
    data: Path, model: str, yunet_weights: Path | None, pictures: int, plot: Path | None, as_json: bool
) -> None:
    """Print the tables."""
    classifier = load_classifier(model)
    faces = read_parquet(data, "PublicTest")
    faces = faces.take(np.random.default_rng(0).permutation(len(faces))[: pictures or None])
    results = {"degraded": degraded(classifier, faces)}
    boxes = find_again(faces, load_detectors(yunet_weights))
    results["found again"] = found_again(classifier, faces, boxes)
    results["crop"] = rescaled(classifier, faces, boxes)
    if yunet_weights:
        results["oblique"] = oblique(classifier, faces, yunet_weights)
    if plot:
        draw(results["degraded"], plot)
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    for title, rows in results.items():
        click.echo(f"\n{title}, {len(faces)} pictures\n")
        click.echo(table(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
