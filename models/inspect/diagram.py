"""What a network looks like: the table of its layers, and a picture of them as stacked boxes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log2, prod
from typing import Final

import keras
from PIL import Image, ImageDraw, ImageFont

from models.inspect.text_table import format_table

# Layers that are drawn, by a word in their class's name, with colour (Okabe and Ito's) and legend. The
# others (activation, normalisation, dropout, padding) belong to the box before them.
_KINDS: Final = {
    "Input": ("#e8e8e8", "input"),
    "Resizing": ("#e8e8e8", "input"),
    "Conv": ("#56b4e9", "convolution"),
    "Pooling": ("#e69f00", "pooling"),
    "Attention": ("#cc79a7", "attention"),
    "Transformer": ("#d55e00", "transformer"),
    "Flatten": ("#f0e442", "flatten, concatenate"),
    "Concatenate": ("#f0e442", "flatten, concatenate"),
    "Dense": ("#009e73", "dense"),
    "ClassProbabilities": ("#0072b2", "probabilities"),
}

_TEXT, _EDGE = "#222222", "#444444"
_GAP, _MARGIN, _LINE = 6, 24, 20  # pixels between boxes, around everything, and a line of text
_LABEL_ROWS: Final = 3
_SLANT: Final = 0.3  # of a box's height, by which its far side is moved to the right and up


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class _Box:
    """A drawn layer: pixels on its front face, its kind, and the shape it gives, without the batch."""

    width: int
    height: int
    depth: int
    color: str
    legend: str
    shape: tuple[int, ...]


def layer_table(network: keras.Model) -> str:
    """A row for each layer, in order: name, kind, output shape without the batch, parameters, inputs.

    A layer of a nested backbone is called backbone/layer. The last line has the totals.
    """
    header = ("layer", "kind", "output", "parameters", "from")
    rows = [header, *_rows(network, "")]
    total = network.count_params()
    trainable = sum(prod(weight.shape) for weight in network.trainable_weights)
    totals = f"{total:,} parameters, {trainable:,} of them trainable"
    return "\n".join([*format_table(rows, numbers=(3,)), totals])


def _rows(network: keras.Model, prefix: str) -> Iterator[tuple[str, str, str, str, str]]:
    saved = {layer["name"]: layer["inbound_nodes"] for layer in network.get_config()["layers"]}
    for layer in network.layers:
        inputs = ", ".join(prefix + name for name in dict.fromkeys(_sources(saved[layer.name])))
        shape = "x".join(map(str, layer.output.shape[1:]))
        yield prefix + layer.name, type(layer).__name__, shape, f"{layer.count_params():,}", inputs
        if isinstance(layer, keras.Model):
            yield from _rows(layer, f"{layer.name}/")


def _sources(saved: object) -> Iterator[str]:
    """The layers whose outputs stand anywhere in a layer's saved arguments."""
    if isinstance(saved, dict):
        if saved.get("class_name") == "__keras_tensor__":
            yield saved["config"]["keras_history"][0]
        else:
            yield from _sources(list(saved.values()))
    elif isinstance(saved, list | tuple):
        for part in saved:
            yield from _sources(part)


def layered_picture(network: keras.Model) -> Image.Image:
    """The layers from left to right, RGB. Sizes grow with the logarithm of what they stand for.

    Feature maps are boxes as high and deep as the map and as wide as its channels are many; vectors are
    bars as high as they are long. Shapes stand under a box where the map's size changes.
    """
    boxes = [_box(layer) for layer in _drawn_layers(network)]
    font = ImageFont.load_default(size=12)
    rise = max(box.height + box.depth for box in boxes)
    labelled = [
        at for at, box in enumerate(boxes) if at == 0 or _area(box.shape) != _area(boxes[at - 1].shape)
    ]
    lefts = [_MARGIN]
    for before, after in pairwise(boxes):
        # A box whose neighbour is flatter needs room for its far side.
        lefts.append(lefts[-1] + before.width + _GAP + max(0, before.depth - after.depth) // 2)
    width = max(lefts[-1] + boxes[-1].width + boxes[-1].depth, 480) + 3 * _MARGIN
    base = _MARGIN + rise
    legend = base + 6 + _LABEL_ROWS * _LINE + 10
    image = Image.new("RGB", (width, legend + _LINE + _MARGIN), "white")
    draw = ImageDraw.Draw(image)
    for box, left in zip(boxes, lefts, strict=True):
        _draw_box(draw, box, left, base)
    _draw_labels(draw, [(lefts[at], boxes[at]) for at in labelled], base, font)
    _draw_legend(draw, boxes, legend, font)
    return image


def _drawn_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from (inner for inner in _drawn_layers(layer) if not _kind(inner).startswith("Input"))
        elif _kind(layer):
            yield layer


def _kind(layer: keras.layers.Layer) -> str:
    return next((word for word in _KINDS if word in type(layer).__name__), "")


def _box(layer: keras.layers.Layer) -> _Box:
    color, legend = _KINDS[_kind(layer)]
    shape = tuple(layer.output.shape[1:])
    if len(shape) == 3:
        side = 10 + round(20 * log2(shape[0]))
        return _Box(3 + round(2 * log2(shape[2])), side, round(_SLANT * side), color, legend, shape)
    return _Box(7, 10 + round(11 * log2(shape[0])), 3, color, legend, shape)


def _area(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if len(shape) == 3 else shape


def _draw_box(draw: ImageDraw.ImageDraw, box: _Box, left: int, base: int) -> None:
    right, top, slant = left + box.width, base - box.height, box.depth
    roof = [(left, top), (left + slant, top - slant), (right + slant, top - slant), (right, top)]
    side = [(right, top), (right + slant, top - slant), (right + slant, base - slant), (right, base)]
    draw.polygon(roof, fill=_shade(box.color, 1.15), outline=_EDGE)
    draw.polygon(side, fill=_shade(box.color, 0.8), outline=_EDGE)
    draw.rectangle((left, top, right, base), fill=box.color, outline=_EDGE)


def _shade(color: str, factor: float) -> tuple[int, ...]:
    channels = bytes.fromhex(color.removeprefix("#"))
    return tuple(min(255, round(channel * factor)) for channel in channels)


def _draw_labels(draw: ImageDraw.ImageDraw, labelled: list[tuple[int, _Box]], base: int, font: _Font) -> None:
    """Shapes in a few rows, each in the first one where it does not run into the label before."""
    ends = [0] * _LABEL_ROWS
    for left, box in labelled:
        text = "x".join(map(str, box.shape))
        row = next((row for row, end in enumerate(ends) if end <= left), ends.index(min(ends)))
        y = base + 6 + row * _LINE
        draw.line((left, base + 2, left, y + 12), fill="#bbbbbb")
        draw.text((left + 3, y), text, fill=_TEXT, font=font)
        ends[row] = left + round(font.getlength(text)) + 10


def _draw_legend(draw: ImageDraw.ImageDraw, boxes: list[_Box], y: int, font: _Font) -> None:
    x = _MARGIN
    for legend, color in dict.fromkeys((box.legend, box.color) for box in boxes):
        draw.rectangle((x, y, x + 12, y + 12), fill=color, outline=_EDGE)
        draw.text((x + 17, y - 1), legend, fill=_TEXT, font=font)
        x += round(font.getlength(legend)) + 35
