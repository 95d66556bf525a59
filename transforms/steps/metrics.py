"""What a run counts and times, named once: Beam's counters and distributions.

They appear live on Dataflow's job page, and after a local run with `--metrics`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.metrics import Metrics, MetricsFilter

NAMESPACE: Final = "affectline"

VIDEOS_OPENED: Final = Metrics.counter(NAMESPACE, "videos")
VIDEO_MS: Final = Metrics.counter(NAMESPACE, "video_ms")  # milliseconds of video gone through
FRAMES_DECODED: Final = Metrics.counter(NAMESPACE, "frames")
SAMPLES_SEARCHED: Final = Metrics.counter(NAMESPACE, "samples")  # frames looked at for faces
FACES_CLASSIFIED: Final = Metrics.counter(NAMESPACE, "faces")
VIDEOS_WRITTEN: Final = Metrics.counter(NAMESPACE, "videos_written")  # whose tables are complete

DECODE_MS: Final = Metrics.distribution(NAMESPACE, "decode_ms")  # a segment's wait for the decoder
DETECT_MS: Final = Metrics.distribution(NAMESPACE, "detect_ms")  # a chunk of frames
INFER_MS: Final = Metrics.distribution(NAMESPACE, "infer_ms")  # a batch of faces
BATCH_FILL: Final = Metrics.distribution(NAMESPACE, "batch_fill_percent")  # not padding

_FAILURES: Final = "failures_"


def count_failure(stage: str, number: int = 1) -> None:
    """Count rows of the `failures` table by the stage they name."""
    Metrics.counter(NAMESPACE, _FAILURES + stage).inc(number)


@dataclass(frozen=True)
class Distribution:
    """Of many whole numbers, their count, sum, least and greatest."""

    count: int
    sum: int
    min: int
    max: int

    def __add__(self, other: "Distribution") -> "Distribution":
        """The numbers of both."""
        return Distribution(
            self.count + other.count,
            self.sum + other.sum,
            min(self.min, other.min),
            max(self.max, other.max),
        )


Measured = dict[str, int | Distribution]


def measured(result: Any) -> Measured:
    """Our counters and distributions of a finished pipeline, by name; steps of one name added up.

    result: a Beam PipelineResult.
    """
    answer = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    total: Measured = {}
    for counter in answer["counters"]:
        add_up(total, {counter.key.metric.name: counter.result or 0})
    for item in answer["distributions"]:
        data = item.result
        if data is not None and data.count:
            name = item.key.metric.name
            add_up(total, {name: Distribution(data.count, data.sum, data.min, data.max)})
    return {name: value for name, value in total.items() if name in _OURS or name.startswith(_FAILURES)}


def add_up(total: Measured, more: Mapping[str, int | Distribution]) -> None:
    """Add the numbers of another pipeline to `total`, in place."""
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value  # type: ignore[operator]


def describe(total: Measured) -> Iterator[str]:
    """One line for each metric, in the order of their names here."""
    for name in sorted(total, key=_place):
        value = total[name]
        if isinstance(value, Distribution):
            mean = value.sum / value.count
            yield f"{name:<24}{value.count:>10} × mean {mean:.1f} (min {value.min}, max {value.max})"
        else:
            yield f"{name:<24}{value:>10}"


def _names(metrics: Iterable[Any]) -> list[str]:
    return [metric.metric_name.name for metric in metrics]


_OURS: Final = _names(
    [
        *(VIDEOS_OPENED, VIDEO_MS, FRAMES_DECODED, SAMPLES_SEARCHED, FACES_CLASSIFIED, VIDEOS_WRITTEN),
        *(DECODE_MS, DETECT_MS, INFER_MS, BATCH_FILL),
    ]
)


def _place(name: str) -> tuple[int, str]:
    return (_OURS.index(name) if name in _OURS else len(_OURS), name)
