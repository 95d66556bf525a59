"""Following faces from sample to sample within a shot.

Each track is a small Kalman filter in time (not in samples) over the box's centre and the logarithm
of its size. At every sample the faces are assigned to the tracks by the cheapest total cost: how
unlikely the position is under the track's motion, how uncertain that motion has become, and how much
the face's coarse look differs. Everything is measured in face sizes and seconds, so neither the
resolution nor the sampling rate matters.

A track that mixes two people is worse than two tracks of one person. So a match must lead clearly over
any other, and a shot is followed twice, forwards and backwards in time. Where the two differ, say on who
came out of a crossing, the likelier answer holds, by the motion before and after it; where neither is
clearly likelier, the tracks in question end.

Tracking is a function of the faces alone, whatever their order: `track_faces` on the faces it kept
gives the same tracks again, which is what lets a run be tracked anew from its stored rows.

One algorithm, and long for that: its two directions and what decides between them are read together.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from transforms.timelines.motion import (
    BOX_VARIANCE,
    Floats,
    fresh,
    meeting_costs,
    motion_costs,
    predict,
    squared_scale,
    update,
)

_ROWS: Final = 5
_COLUMNS: Final = 4
_POINTS: Final = 4  # pixels read along each side of a cell
APPEARANCE_BYTES: Final = _ROWS * _COLUMNS * 3
"""Bytes of a face's descriptor."""

_LOOK_STD: Final = 12.0  # levels of 255 by which one person's descriptor varies
_LOOK_LEARNING: Final = 0.25
_OTHER_LOOK_COST: Final = 6.5  # of looking like anybody: in a flash, half hidden
_NEW_TRACK_COST: Final = 15.0  # a match that costs more than this starts a new track
_LEAD: Final = 0.75  # ... and so does one that another match comes this close to
_DECIDED: Final = 2.5  # what an answer must cost less than the other, where the two directions differ

MAX_ABSENCE_S: Final = 2.0
"""A face away for longer comes back as a new track."""

# A face seen once is taken for a detector's error only where the video had two more looks this close.
_CHANCES: Final = 2
_CHANCE_WITHIN_US: Final = 750_000


def describe_face(image_rgb: NDArray[np.uint8], box: NDArray[np.float32]) -> bytes:
    """A 4×5 RGB picture of the face and what is worn below it, row by row.

    `image_rgb` is uint8 [height, width, 3], `box` is x, y, w, h in its pixels. Returns APPEARANCE_BYTES
    bytes, enough to tell neighbours apart and too few to recognise anybody. What lies outside of the
    frame repeats its edge.
    """
    x, y, w, h = (float(value) for value in box)
    columns = _grid(x - 0.25 * w, x + 1.25 * w, _COLUMNS, image_rgb.shape[1])
    rows = _grid(y, y + 2.0 * h, _ROWS, image_rgb.shape[0])
    pixels = image_rgb[rows[:, None], columns].reshape(_ROWS, _POINTS, _COLUMNS, _POINTS, 3)
    means: Floats = pixels.mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8).tobytes()


def _grid(start: float, end: float, cells: int, length: int) -> NDArray[np.intp]:
    """Pixel indices spread evenly over [start, end), within a side of `length` pixels."""
    count = cells * _POINTS
    return np.clip(start + (np.arange(count) + 0.5) / count * (end - start), 0, length - 1).astype(np.intp)


def track_faces(
    face_sample: NDArray[np.int32],
    boxes: NDArray[np.float32],
    appearance: NDArray[np.uint8],
    sample: NDArray[np.int32],
    pts_us: NDArray[np.int64],
    shots: NDArray[np.int32],
    decoded: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """The track of each face of one video: int32 [n], from 0 in the order of first appearance.

    Faces, in any order: `face_sample` int32 [n], the number of the sample each was found at; `boxes`
    float32 [n, 4], x y w h in pixels; `appearance` uint8 [n, APPEARANCE_BYTES] from describe_face.
    Samples, all of the video's, ascending: `sample` int32 [m] numbers, `pts_us` int64 [m], `shots`
    int32 [m] from find_shots, `decoded` bool [m].

    -1 marks a face dropped because nothing joins it to another although its shot had two or more other
    decoded samples within 0.75 s, that is at about two samples a second and more. A lone face in a
    picture, a very short shot or a sparse sampling stays; so does one that the two directions in time
    join to different tracks: somebody was there, even if who cannot be told. Faces that start at the same
    sample are numbered by their boxes. No track crosses a shot or an absence of more than MAX_ABSENCE_S,
    unless that is the time between two samples in a row. Raises ValueError when shapes do not fit,
    samples do not ascend, or a face is at an unknown sample or has no area.
    """
    _check(face_sample, boxes, appearance, sample, pts_us, shots, decoded)
    tracks = np.full(len(face_sample), -1, np.int32)
    if not len(face_sample):
        return tracks
    place = np.searchsorted(sample, face_sample)
    order = np.lexsort((_as_strings(appearance), *boxes.T[::-1], place))
    droppable = _had_chances(pts_us, shots, decoded)[place]
    earliest = _earliest_us(pts_us, decoded)
    latest = -_earliest_us(-pts_us[::-1], decoded[::-1])[::-1]
    count = 0
    for rows in np.split(order, np.flatnonzero(np.diff(shots[place[order]])) + 1):
        # Dropped faces could have disturbed the others: track again without them until none is dropped.
        while True:
            faces = _Faces.of(place[rows], pts_us, earliest, latest, boxes[rows], appearance[rows])
            found, followed = _join(faces)
            kept = followed | ~droppable[rows]
            if kept.all():
                break
            rows = rows[kept]
        tracks[rows] = count + found
        count += found.max(initial=-1) + 1
    return tracks


def _check(
    face_sample: NDArray[np.int32],
    boxes: NDArray[np.float32],
    appearance: NDArray[np.uint8],
    sample: NDArray[np.int32],
    pts_us: NDArray[np.int64],
    shots: NDArray[np.int32],
    decoded: NDArray[np.bool_],
) -> None:
    n, m = len(face_sample), len(sample)
    if boxes.shape != (n, 4) or appearance.shape != (n, APPEARANCE_BYTES):
        raise ValueError(
            f"{n} faces need boxes of shape ({n}, 4) and appearance of shape ({n}, {APPEARANCE_BYTES}), "
            f"not {boxes.shape} and {appearance.shape}."
        )
    if pts_us.shape != (m,) or shots.shape != (m,) or decoded.shape != (m,):
        raise ValueError(f"{m} samples need as many times, shots and decoded flags.")
    if (np.diff(sample) <= 0).any() or (np.diff(pts_us) < 0).any() or (np.diff(shots) < 0).any():
        raise ValueError("Samples must be in order, each once: sort them before tracking.")
    if not np.isin(face_sample, sample[decoded]).all():
        raise ValueError("A face is at a sample that is not among the decoded ones: pass every sample.")
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
        raise ValueError("A face's box has no area: drop such boxes in the detector.")


def _as_strings(rows: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(rows).view(f"S{rows.shape[1]}")[:, 0]


def _had_chances(
    pts_us: NDArray[np.int64], shots: NDArray[np.int32], decoded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether a face seen at a sample could have been seen again close by in the same shot, [m]."""
    before = np.concatenate([[0], np.cumsum(decoded)])
    first = np.searchsorted(pts_us, pts_us - _CHANCE_WITHIN_US, side="left")
    last = np.searchsorted(pts_us, pts_us + _CHANCE_WITHIN_US, side="right")
    first = np.maximum(first, np.searchsorted(shots, shots, side="left"))
    last = np.minimum(last, np.searchsorted(shots, shots, side="right"))
    chances: NDArray[np.bool_] = before[last] - before[first] - decoded >= _CHANCES
    return chances


def _earliest_us(pts_us: NDArray[np.int64], decoded: NDArray[np.bool_]) -> NDArray[np.int64]:
    """When a track must have been seen to go on at each sample, [m]: microseconds.

    Not too long ago, or else at the decoded sample before it, however long ago that was.
    """
    seen = np.maximum.accumulate(np.where(decoded, np.arange(len(pts_us)), -1))
    before = np.append(-1, seen[:-1])
    longest = pts_us - round(MAX_ABSENCE_S * 1e6)
    return np.where(before < 0, longest, np.minimum(longest, pts_us[before]))


@dataclass(frozen=True)
class _Faces:
    """The faces of one shot in the order of their samples, then of their boxes."""

    place: NDArray[np.int64]  # of the sample
    time_us: NDArray[np.int64]
    earliest_us: NDArray[np.int64]  # a track seen before this is over, and one seen
    latest_us: NDArray[np.int64]  # after this, when time runs backwards
    position: Floats  # [n, 3]: x and y of the centre in pixels, log of the size
    appearance: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        place: NDArray[np.int64],
        pts_us: NDArray[np.int64],
        earliest_us: NDArray[np.int64],
        latest_us: NDArray[np.int64],
        boxes: NDArray[np.float32],
        appearance: NDArray[np.uint8],
    ) -> "_Faces":
        """From the columns of the samples and the boxes in pixels."""
        wide = boxes.astype(np.float64)
        position = np.column_stack([wide[:, :2] + wide[:, 2:] / 2.0, 0.5 * np.log(wide[:, 2] * wide[:, 3])])
        return cls(place, pts_us[place], earliest_us[place], latest_us[place], position, appearance)

    def backwards(self) -> "_Faces":
        """The same as if time ran the other way."""
        return _Faces(
            -self.place[::-1],
            -self.time_us[::-1],
            -self.latest_us[::-1],
            -self.earliest_us[::-1],
            self.position[::-1],
            self.appearance[::-1],
        )


def _join(faces: _Faces) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The track of each face of one shot, int32 [n], from 0 in the order of first appearance.

    Also whether either direction followed it to or from another face, bool [n]: somebody was there, even
    where it cannot be told who.
    """
    last = len(faces.place) - 1
    forwards, past = _follow(faces)
    after, future = _follow(faces.backwards())
    after, future = after[::-1], future[::-1]
    backwards = _inverse(np.where(after < 0, -1, last - after))
    future[:, [1, 3]] *= -1.0  # velocities, as time runs forwards
    before = np.where(forwards == backwards, forwards, -1)
    for ends, starts in _disputes(forwards, backwards):
        one, other = (
            _cost_of(links[starts], ends, starts, faces, past, future) for links in (forwards, backwards)
        )
        lone = len(ends) == len(starts) == 1  # one direction makes a link, nothing speaks against it
        if lone or abs(one - other) >= _DECIDED:
            before[starts] = forwards[starts] if one < other else backwards[starts]
    links = (forwards, backwards, _inverse(forwards), _inverse(backwards))
    return _number(before), np.maximum.reduce(links) >= 0


def _disputes(one: NDArray[np.int64], other: NDArray[np.int64]) -> list[tuple[set[int], NDArray[np.int64]]]:
    """Faces that two ways of following link differently, taken apart into what can be decided on its own.

    From the face before each, [n], by either. Each dispute is the faces to go on from and, ascending, the
    faces to go on with: every link that either way makes from the former or to the latter is between them.
    """
    n = len(one)
    disputed = np.flatnonzero(one != other)
    if not len(disputed):
        return []
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts = np.concatenate([disputed, disputed])
    ends = np.concatenate([one[disputed], other[disputed]])
    starts, ends = starts[ends >= 0], ends[ends >= 0]
    graph = coo_matrix((np.ones(len(starts), np.bool_), (starts, n + ends)), shape=(2 * n, 2 * n))
    label = connected_components(graph, directed=False)[1]
    order = disputed[np.argsort(label[disputed], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    return [({*one[group].tolist(), *other[group].tolist()} - {-1}, group) for group in groups]


def _cost_of(
    before: NDArray[np.int64],
    ends: set[int],
    starts: NDArray[np.int64],
    faces: _Faces,
    past: Floats,
    future: Floats,
) -> float:
    """How unlikely one answer to a dispute is: `before` [k], the face each of `starts` goes on from, or -1.

    `past` and `future` [n, 5, 3] are the states at each face by what was seen up to it, and from it on.
    Between faces of the dispute those have taken a side, so there the states follow this answer.
    """
    total = 0.0
    states: dict[int, Floats] = {}
    for face, earlier in zip(starts.tolist(), before.tolist(), strict=True):
        seen = faces.position[None, face]
        if earlier < 0:
            total += _NEW_TRACK_COST
            states[face] = fresh(seen)
            continue
        state = states.get(earlier, past[earlier][:, None])
        scale = squared_scale(state[0])
        noise = BOX_VARIANCE * scale
        dt = np.array([[(faces.time_us[face] - faces.time_us[earlier]) / 1e6]])
        expected = predict(state, dt, scale)
        if face in ends:
            motion = motion_costs(expected, noise, seen)
            states[face] = update(expected, noise, seen)
        else:
            motion = meeting_costs(expected, future[face][:, None], noise, scale)
        looks = faces.appearance[[earlier, face]].astype(np.float64)
        total += (motion + _look_costs(looks[:1], looks[1:])).item()
    return total


def _number(before: NDArray[np.int64]) -> NDArray[np.int32]:
    """Tracks, [n], from the face before each: -1 starts a new one."""
    tracks: list[int] = []
    count = 0
    for earlier in before.tolist():
        tracks.append(count if earlier < 0 else tracks[earlier])
        count += earlier < 0
    return np.array(tracks, np.int32)


def _inverse(links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Who points at each: from the index that each points at, -1 for none; no two at the same."""
    inverse = np.full(len(links), -1, np.int64)
    pointing = np.flatnonzero(links >= 0)
    inverse[links[pointing]] = pointing
    return inverse


@dataclass
class _Tracks:
    """The tracks that may still go on, one a row, as each was when last seen."""

    face: NDArray[np.int64]  # the latest, and its time
    time_us: NDArray[np.int64]
    state: Floats  # [5, t, 3], as in transforms/timelines/motion.py
    appearance: Floats  # [t, APPEARANCE_BYTES]

    def keep(self, rows: NDArray[np.bool_]) -> "_Tracks":
        return _Tracks(
            self.face[rows],
            self.time_us[rows],
            self.state[:, rows],
            self.appearance[rows],
        )

    def add(self, face: NDArray[np.int64], time_us: int, measured: Floats, appearance: Floats) -> "_Tracks":
        """With new tracks at faces seen for the first time: their speed is anybody's."""
        return _Tracks(
            np.concatenate([self.face, face]),
            np.concatenate([self.time_us, np.full(len(face), time_us)]),
            np.concatenate([self.state, fresh(measured)], axis=1),
            np.concatenate([self.appearance, appearance]),
        )


def _look_costs(tracked: Floats, appearance: Floats) -> Floats:
    """What the difference of each face's look from each track's costs, [tracks, faces]."""
    difference = appearance - tracked[:, None]
    change = np.einsum("tfd,tfd->tf", difference, difference) / (APPEARANCE_BYTES * _LOOK_STD**2)
    costs: Floats = -np.log(np.exp(-0.5 * change) + np.exp(-_OTHER_LOOK_COST))
    return costs


def _leads(cost: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
    """How much more it would cost to give each matched face to another track, or its track another face.

    `cost` [tracks, faces] of at most _NEW_TRACK_COST, the pairs of its cheapest assignment `rows` and
    `columns` [p]. Two pairs may trade, and a track or a face that went without may step in. Returns [p],
    infinite where nothing else is possible.
    """
    acceptable = cost < _NEW_TRACK_COST
    if np.count_nonzero(acceptable) == len(rows):
        return np.full(len(rows), np.inf)
    possible = np.where(acceptable, cost, np.inf)
    chosen = cost[rows, columns]
    give, rest = possible[np.ix_(rows, columns)], cost[np.ix_(rows, columns)]
    trade = np.minimum(give + rest.T, give.T + rest) - chosen[:, None]
    np.fill_diagonal(trade, np.inf)
    other_tracks = np.delete(possible[:, columns], rows, axis=0)
    other_faces = np.delete(possible[rows], columns, axis=1).T
    margins: Floats = np.concatenate([trade, other_tracks, other_faces]).min(axis=0) - chosen
    return margins


def _assign(cost: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cheapest one-to-one assignment."""
    if min(cost.shape) < 2:  # nearly always; SciPy takes half a second to load
        rows, columns = np.unravel_index(cost.argsort(axis=None)[: min(cost.shape)], cost.shape)
    else:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost)
    return rows, columns


def _follow(faces: _Faces) -> tuple[NDArray[np.int64], Floats]:
    """The face that each goes on from, -1 for the first of a track, int64 [n]; each one's state [n, 5, 3]."""
    before = np.full(len(faces.place), -1, np.int64)
    states = np.empty((len(faces.place), 5, 3))
    edges = np.append(np.flatnonzero(np.diff(faces.place, prepend=faces.place[:1] - 1)), len(faces.place))
    none = np.empty(0, np.int64)
    tracks = _Tracks(none, none, np.empty((5, 0, 3)), np.empty((0, APPEARANCE_BYTES)))
    for start, end in pairwise(edges.tolist()):
        now = int(faces.time_us[start])
        alive = tracks.time_us >= faces.earliest_us[start]
        if not alive.all():
            tracks = tracks.keep(alive)
        seen, look = faces.position[start:end], faces.appearance[start:end].astype(np.float64)

        scale = squared_scale(tracks.state[0])
        noise = BOX_VARIANCE * scale
        expected = predict(tracks.state, (now - tracks.time_us[:, None]) / 1e6, scale)
        cost = motion_costs(expected, noise, seen) + _look_costs(tracks.appearance, look)
        cost = np.minimum(cost, _NEW_TRACK_COST)
        rows, columns = _assign(cost)
        good = cost[rows, columns] < _NEW_TRACK_COST
        rows, columns = rows[good], columns[good]
        sure = _leads(cost, rows, columns) >= _LEAD
        doubtful, rows, columns = rows[~sure], rows[sure], columns[sure]

        before[start + columns] = tracks.face[rows]
        tracks.face[rows] = start + columns
        tracks.time_us[rows] = now
        tracks.state[:, rows] = update(expected[:, rows], noise[rows], seen[columns])
        tracks.appearance[rows] += _LOOK_LEARNING * (look[columns] - tracks.appearance[rows])
        if len(doubtful):
            tracks = tracks.keep(np.isin(np.arange(len(tracks.face)), doubtful, invert=True))
        if len(rows) < end - start:
            new = np.delete(np.arange(end - start), columns)
            tracks = tracks.add(start + new, now, seen[new], look[new])
        at = tracks.time_us == now
        states[tracks.face[at]] = tracks.state[:, at].swapaxes(0, 1)
    return before, states
