"""`affectline explain`: what is inside a model, drawn as one PNG each."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from models.classify.classifier import load_network
from models.classify.crop import make_crop
from models.classify.spec import find_model
from models.inspect.introspection import feature_maps, grad_cam, kernels
from pipeline.commands.predict import write_picture
from schemas.errors import UnreadablePictureError, UsageError
from transforms.faces.analyzer import Analyzer
from transforms.faces.pictures import read_picture

_LARGEST = 1400  # pixels; sides of drawn maps and kernels stay about here, where single values allow
_FACE = 224  # pixels; side of a drawn face
_TEXT = 14  # pixels
_GAP = 3  # pixels between tiles
_GREY = 128  # of the gaps: white and black say something
_NEGATIVE, _POSITIVE = (np.array(ImageColor.getrgb(color), np.float32) for color in ("#0072b2", "#d55e00"))
_HEAT_OPACITY = 0.65  # at its strongest, so that the face stays to be seen


def explain_kernels(model: str, layer: str | None, output: str) -> str:
    """Draw a convolution's kernels into the file `output`; what was drawn, as a sentence."""
    network = load_network(find_model(model))
    name, weights = kernels(network, layer)
    height, width, channels, filters = weights.shape
    strongest = float(np.abs(weights).max())
    text = f"{name}: {filters} filters {height}x{width} of {channels} channels, ±{strongest:.3g}"
    write_picture(titled(draw_kernels(weights), text), Path(output))
    return f"{output}: {text}."


def explain_features(image: str, analyzer: Analyzer, layer: str | None, output: str) -> str:
    """Draw what a layer answers to a face into the file `output`; what was drawn, as a sentence."""
    crop = crop_face(image, analyzer)
    found = feature_maps(load_network(analyzer.classifier.model), crop, layer)
    height, width, count = found.maps.shape
    text = f"{found.layer}: {count} maps {width}x{height}, each from its lowest to its highest"
    write_picture(titled(draw_maps(found.maps), text), Path(output))
    return f"{output}: {text}."


def explain_gradcam(image: str, analyzer: Analyzer, layer: str | None, output: str) -> str:
    """Draw where a face speaks for each class into the file `output`; what was drawn, as a sentence."""
    crop = crop_face(image, analyzer)
    found = grad_cam(load_network(analyzer.classifier.model), crop, layer)
    face = as_picture(crop)
    tiles = [titled(face, "as the model sees it")]
    for name, heat, probability in zip(analyzer.spec.classes, found.heat, found.probabilities, strict=True):
        tiles.append(titled(draw_heat(face, heat), f"{name} {probability:.1%}"))
    text = f"Grad-CAM at {found.layer}, each class from nothing to its own strongest"
    write_picture(titled(_in_grid(tiles, min(4, len(tiles))), text), Path(output))
    return f"{output}: {text}."


def crop_face(image: str, analyzer: Analyzer) -> np.ndarray:
    """The surest face in a picture file, as the model wants it.

    Returns uint8 [input_size, input_size, channels]. Raises UsageError when there is none.
    """
    try:
        picture = read_picture(image)
    except UnreadablePictureError as error:
        raise UsageError(f"{image}: {error}") from error
    [boxes] = analyzer.detector.detect([picture])
    if not boxes:
        raise UsageError(f"No face was found in {image}; if it is a face from edge to edge, add --crop.")
    return make_crop(picture, boxes[0].frame, analyzer.spec)


def as_picture(crop: np.ndarray) -> np.ndarray:
    """A model's crop, large enough to look at: uint8 RGB [_FACE, _FACE, 3]."""
    rgb = np.repeat(crop, 3, axis=2) if crop.shape[2] == 1 else crop
    return cv2.resize(rgb, (_FACE, _FACE), interpolation=cv2.INTER_CUBIC)


def draw_kernels(weights: np.ndarray) -> np.ndarray:
    """Weights float [h, w, channels, filters] as tiles, uint8 RGB: white is 0, orange above, blue below.

    One channel: the filters in a grid. More: a row a filter, a column a channel.
    """
    strength = (weights / (np.abs(weights).max() or 1.0))[..., None].astype(np.float32)
    colors = 255 - np.abs(strength) * (255 - np.where(strength < 0, _NEGATIVE, _POSITIVE))
    tiles = np.rint(colors).astype(np.uint8).transpose(3, 2, 0, 1, 4)  # filters, channels, h, w, RGB
    filters, channels, height, width, _ = tiles.shape
    columns = channels if channels > 1 else _even(filters)
    flat = tiles.reshape(filters * channels, height, width, 3)
    return _in_grid(_enlarged(flat, columns), columns)


def draw_maps(maps: np.ndarray) -> np.ndarray:
    """Feature maps float [h, w, n] as a grid, uint8 RGB: each from its own lowest to its highest value."""
    lowest, highest = maps.min(axis=(0, 1)), maps.max(axis=(0, 1))
    spread = np.where(highest > lowest, highest - lowest, 1)
    levels = np.rint(255 * (maps - lowest) / spread).astype(np.uint8)
    tiles = np.stack([_colored(levels[..., at], cv2.COLORMAP_VIRIDIS) for at in range(maps.shape[2])])
    columns = _even(len(tiles))
    return _in_grid(_enlarged(tiles, columns), columns)


def draw_heat(face: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat float [h, w], 0 and up, over a face uint8 RGB [H, W, 3]: clear at 0, strongest at its highest."""
    size = (face.shape[1], face.shape[0])
    strength = cv2.resize(heat / (heat.max() or 1.0), size, interpolation=cv2.INTER_LINEAR)
    color = _colored(np.rint(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = _HEAT_OPACITY * strength[..., None]
    mixed = face + opacity * (color.astype(np.float32) - face)
    rounded: np.ndarray = np.rint(mixed)
    return rounded.astype(np.uint8)


def _colored(levels: np.ndarray, colormap: int) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)


def _even(count: int) -> int:
    """Columns of a grid of `count` tiles that is about as wide as it is high."""
    return int(np.ceil(np.sqrt(count)))


def _enlarged(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Tiles uint8 [n, h, w, 3] with every value as a square, as large as leaves the grid at _LARGEST."""
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    scale = max(1, min(_LARGEST // (columns * (width + _GAP)), _LARGEST // (rows * (height + _GAP))))
    return tiles.repeat(scale, axis=1).repeat(scale, axis=2)


def _in_grid(tiles: Sequence[np.ndarray] | np.ndarray, columns: int) -> np.ndarray:
    """Tiles uint8 RGB of one size, row by row."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    grid = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _GREY, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        grid[top : top + height, left : left + width] = tile
    return grid


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture below a line of text, wide enough for both."""
    font = ImageFont.load_default(_TEXT)
    height, width = picture.shape[:2]
    line = 2 * _TEXT
    canvas = Image.new("RGB", (max(width, int(font.getlength(text)) + _TEXT), height + line), "white")
    canvas.paste(Image.fromarray(picture), (0, line))
    ImageDraw.Draw(canvas).text((_TEXT // 2, _TEXT // 3), text, "black", font)
    return np.asarray(canvas)
