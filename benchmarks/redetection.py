"""Where each detector's box lies on faces whose frame is known: FER2013's own pictures, found again.

    python -m benchmarks.redetection --data fer2013.parquet [--yunet-weights FILE] [--json]

Every picture of usage Training that is drawn is enlarged and laid on a larger canvas, whose rest is the
picture's border, drawn out and blurred, so that a detector sees a face in a scene. The box that a detector
gives is then told in the picture's own frame: centre and size in sides of the frame, which is the region
that FER2013's makers cut out. `models/detectors/__init__.py` holds the figures that this prints.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np

from benchmarks.detection import table
from models.detectors import DETECTORS, Box, Detector, make_detector
from models.training.data import read_parquet

SIDE: Final = 144  # pixels of the enlarged picture
MARGIN: Final = 72  # pixels around it
_FEATHER: Final = 6  # pixels over which the picture passes into what is around it
_MIN_FACE: Final = 0.2  # of the canvas
_BATCH: Final = 64


def compose(picture: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """A scene with the face, uint8 RGB [288, 288, 3], from a grey picture uint8 [48, 48].

    angle: degrees by which the face is turned about the middle of its frame.
    """
    large = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    drawn_out = cv2.copyMakeBorder(large, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
    around = cv2.GaussianBlur(drawn_out, (0, 0), SIDE / 12, borderType=cv2.BORDER_REPLICATE)
    inner = np.zeros(drawn_out.shape, np.float32)
    inner[MARGIN + _FEATHER : -MARGIN - _FEATHER, MARGIN + _FEATHER : -MARGIN - _FEATHER] = 1
    weight = cv2.GaussianBlur(inner, (0, 0), _FEATHER / 2)
    scene = np.round(drawn_out * weight + around * (1 - weight)).astype(np.uint8)
    if angle:
        middle = (scene.shape[0] - 1) / 2
        turn = cv2.getRotationMatrix2D((middle, middle), angle, 1.0)
        turned = cv2.warpAffine(scene, turn, scene.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(turned, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(scene, cv2.COLOR_GRAY2RGB)


def load_detectors(yunet_weights: Path | None) -> dict[str, Detector]:
    """Every detector whose weights are here."""
    detectors = {name: make_detector(name, _MIN_FACE) for name in DETECTORS if name != "yunet"}
    if yunet_weights:
        detectors["yunet"] = make_detector("yunet", _MIN_FACE, yunet_weights)
    return detectors


def redetect(detector: Detector, scenes: Sequence[np.ndarray]) -> list[Box | None]:
    """The best box of each scene whose centre lies in the middle of the face's frame, if there is one."""
    found = [
        boxes
        for start in range(0, len(scenes), _BATCH)
        for boxes in detector.detect(scenes[start : start + _BATCH])
    ]
    return [next((box for box in boxes if _is_in_the_middle(box)), None) for boxes in found]


def _is_in_the_middle(box: Box) -> bool:
    return bool(np.abs(in_frame(box)[:2] - 0.5).max() < 0.25)


def in_frame(box: Box) -> np.ndarray:
    """Centre x and y, width and height of a scene's box in the face's own frame, whose side is 1."""
    centre = np.array([box.x + box.w / 2, box.y + box.h / 2])
    return np.concatenate([(centre - MARGIN) / SIDE, np.array([box.w, box.h]) / SIDE])


def geometry(boxes: Sequence[Box | None]) -> dict[str, float]:
    """Medians of where the boxes lie, and how far single ones are from them (half the middle 68 %).

    x, y: centre of the frame from the box's centre, in the side that the frame is measured by.
    longer, height, width, mean: side of the frame as a multiple of the box's longer side, height, width,
    and of the root of its area.
    """
    frames = np.stack([in_frame(box) for box in boxes if box])
    w, h = frames[:, 2], frames[:, 3]
    longer = np.maximum(w, h)
    sides = {"longer": longer, "height": h, "width": w, "mean": np.sqrt(w * h)}
    values = {"x": (0.5 - frames[:, 0]) / longer, "y": (0.5 - frames[:, 1]) / longer}
    values |= {name: 1 / side for name, side in sides.items()}
    result = {"found": len(frames) / len(boxes)}
    for name, value in values.items():
        low, median, high = np.quantile(value, (0.16, 0.5, 0.84))
        result[name] = float(median)
        result[f"{name}_spread"] = float(high - low) / 2
    return result


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--yunet-weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pictures", default=2000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(data: Path, yunet_weights: Path | None, pictures: int, as_json: bool) -> None:
    """Print one row a detector."""
    images = read_parquet(data, "Training").images
    rows = np.random.default_rng(0).permutation(len(images))[:pictures]
    scenes = [compose(images[row, ..., 0]) for row in rows]
    results: dict[str, dict[str, Any]] = {
        name: geometry(redetect(detector, scenes)) for name, detector in load_detectors(yunet_weights).items()
    }
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    columns = next(iter(results.values()))
    click.echo(table(("detector", *columns), [[n, *r.values()] for n, r in results.items()]))


if __name__ == "__main__":
    main()
