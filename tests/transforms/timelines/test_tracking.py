"""Shots and tracks: exact answers on small composed data, and what must not matter does not.

Long for its scenes, each a few faces whose tracks are known.
"""

from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from tests.helpers.needs import SHARED
from transforms.timelines.shots import SIGNATURE_BYTES, find_shots, frame_signature
from transforms.timelines.tracking import APPEARANCE_BYTES, describe_face, track_faces

# --- shots ---------------------------------------------------------------------------------------


def shots_of(frames: list[np.ndarray], decoded: list[bool] | None = None) -> list[int]:
    """Shots of frames sampled five times a second."""
    signatures = np.frombuffer(b"".join(frame_signature(f) for f in frames), np.uint8)
    flags = np.ones(len(frames), bool) if decoded is None else np.array(decoded)
    pts_us = np.arange(len(frames)) * 200_000
    return find_shots(signatures.reshape(-1, SIGNATURE_BYTES), pts_us, flags).tolist()


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    return [
        cv2.resize(p, (640, 360)) for p in (data.coffee(), data.chelsea(), data.rocket(), data.astronaut())
    ]


def test_hard_cuts_are_found(scenes):
    frames = [scene for scene in scenes for _ in range(4)]
    assert shots_of(frames) == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_every_sample_its_own_shot(scenes):
    assert shots_of([scenes[0], scenes[1], scenes[2], scenes[3], scenes[0]]) == [0, 1, 2, 3, 4]


def test_a_cut_to_something_like_it_is_found_only_where_nothing_else_moves(scenes):
    """Much of another scene mixed in changes less than a cut mostly does, but all at once."""
    mixes = [((1 - w) * scenes[1] + w * scenes[3]).astype(np.uint8) for w in (0, 0.25, 0.6, 0.75, 1)]
    start, quarter, most, more, end = mixes
    assert shots_of([start] * 3 + [most] * 3) == [0] * 3 + [1] * 3
    assert set(shots_of([start, quarter, more, end])) == {0}


def test_pans_and_zooms_are_no_cuts():
    wide = cv2.resize(data.coffee(), (1280, 720))
    pan = [wide[180:540, x : x + 640] for x in range(0, 640, 64)]  # half a frame's width a second
    zoom = [wide[int(r) : int(720 - r), int(r) : int(1280 - r)] for r in np.linspace(0, 250, 10)]
    assert set(shots_of(pan)) == {0}
    assert set(shots_of(zoom)) == {0}


def test_a_flash_and_a_fade_are_no_cuts(scenes):
    flash = np.clip(scenes[3].astype(int) * 2 + 80, 0, 255).astype(np.uint8)
    assert set(shots_of([scenes[3]] * 3 + [flash] + [scenes[3]] * 3)) == {0}
    fade = [(scenes[0] * share).astype(np.uint8) for share in np.linspace(1, 0, 8)]
    assert set(shots_of(fade + fade[::-1])) == {0}


def test_black_between_two_scenes_belongs_to_the_first(scenes):
    black = np.zeros_like(scenes[0])
    assert shots_of([scenes[0]] * 3 + [black] * 2 + [scenes[1]] * 3) == [0] * 5 + [1] * 3
    assert set(shots_of([black] * 2 + [scenes[0]] * 3 + [black] + [scenes[0]] * 2)) == {0}


def test_a_person_walking_through_is_no_cut(scenes):
    frames = []
    for x in range(0, 600, 60):
        frame = scenes[2].copy()
        frame[60:360, x : x + 130] = (200, 120, 40)
        frames.append(frame)
    assert set(shots_of(frames)) == {0}


def test_samples_that_did_not_decode_say_nothing(scenes):
    """They join the shot before them; a cut behind them is still found, and their bytes are not read."""
    frames = [scenes[0], scenes[0], scenes[2], scenes[0], scenes[1], scenes[3], scenes[1]]
    decoded = [True, True, False, True, True, False, True]
    assert shots_of(frames, decoded) == [0, 0, 0, 0, 1, 1, 1]
    assert shots_of([scenes[0], scenes[1]], [False, False]) == [0, 0]


def test_no_samples_and_one(scenes):
    assert shots_of([]) == []
    assert shots_of([scenes[0]]) == [0]


def test_a_signature_is_the_size_it_says():
    for shape in ((1, 1, 3), (5, 700, 3), (360, 640, 3), (1080, 1920, 3)):
        signature = frame_signature(np.full(shape, (10, 20, 30), np.uint8))
        assert signature == bytes([10, 20, 30]) * (SIGNATURE_BYTES // 3)


def test_a_signature_keeps_the_layout():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, 32:, 0] = 255
    cells = np.frombuffer(frame_signature(image), np.uint8).reshape(8, 8, 3)
    assert (cells[:4, 4:, 0] == 255).all()
    assert cells.sum() == 16 * 255


def test_shots_refuse_what_does_not_fit():
    signatures = np.zeros((2, SIGNATURE_BYTES), np.uint8)
    with pytest.raises(ValueError, match="2 samples need signatures"):
        find_shots(signatures[:1], np.arange(2), np.ones(2, bool))
    with pytest.raises(ValueError, match="order of their times"):
        find_shots(signatures, np.array([5, 1]), np.ones(2, bool))


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    ("clip", "cuts_s"),
    [
        ("cuts_hamilton_white_house.mp4", [20 / 29.97, 82 / 29.97, 211 / 29.97]),  # seen in the frames
        ("one_woman_talking.mp4", []),
        ("qcif_carphone_moving_head.mp4", []),
    ],
)
def test_cuts_of_real_clips(clip, cuts_s):
    signatures, pts_us = [], []
    with av.open(str(SHARED / "videos/people" / clip)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            pts_us.append(round(frame.pts * stream.time_base * 1_000_000))
            signatures.append(np.frombuffer(frame_signature(frame.to_ndarray(format="rgb24")), np.uint8))
    every = np.array(pts_us) - pts_us[0]
    sampled = np.searchsorted(every, np.arange(0, every[-1], 200_000))
    shots = find_shots(np.stack(signatures)[sampled], every[sampled], np.ones(len(sampled), bool))
    found = every[sampled][1:][np.diff(shots) > 0] / 1e6
    assert len(found) == len(cuts_s)
    # A cut is seen at the first sample after it.
    assert all(0 <= at - cut <= 0.25 for at, cut in zip(found, cuts_s, strict=True))


# --- tracks --------------------------------------------------------------------------------------


class Clip:
    """Faces and samples of a made-up video; a look is one colour for the whole descriptor."""

    def __init__(self, n: int, rate: float = 5.0) -> None:
        self.sample = np.arange(n, dtype=np.int32)
        self.pts_us = np.rint(np.arange(n) / rate * 1e6).astype(np.int64)
        self.shots = np.zeros(n, np.int32)
        self.decoded = np.ones(n, bool)
        self.faces: list[tuple[int, tuple[float, ...], int]] = []

    def see(self, sample: int, x: float, y: float = 100, size: float = 50, look: int = 100) -> None:
        self.faces.append((sample, (x, y, size, size), look))

    def tracks(self) -> list[int]:
        n = len(self.faces)
        return track_faces(
            np.array([f[0] for f in self.faces], np.int32),
            np.array([f[1] for f in self.faces], np.float32).reshape(n, 4),
            np.array([[f[2]] * APPEARANCE_BYTES for f in self.faces], np.uint8).reshape(n, APPEARANCE_BYTES),
            self.sample,
            self.pts_us,
            self.shots,
            self.decoded,
        ).tolist()


@pytest.mark.parametrize("rate", [2.0, 5.0, 10.0])
def test_two_who_cross_keep_their_tracks(rate):
    """Even when one hides the other for half a second and they look the same."""
    clip, truth = Clip(int(6 * rate), rate), []
    for k in range(int(6 * rate)):
        left, right = 50 + 100 * k / rate, 550 - 90 * k / rate
        clip.see(k, left, size=50)
        truth.append(0)
        if abs(left - right) > 25:
            clip.see(k, right, size=44)
            truth.append(1)
    assert clip.tracks() == truth


def test_a_look_decides_where_motion_cannot():
    clip = Clip(20)
    seen = [*range(8), *range(12, 20)]
    for k in seen:
        swapped = k >= 12  # they change places while nobody looks
        clip.see(k, 160 if swapped else 100, look=60)
        clip.see(k, 100 if swapped else 160, look=190)
    assert clip.tracks() == [0, 1] * len(seen)


def test_what_comes_after_tells_who_was_seen_at_a_crossing():
    """Two who look the same meet at two samples a second; one of them is seen where they meet."""
    clip, truth = Clip(7, 2.0), []
    to_the_right = [109, 203, 299, 391, None, 538, 446]
    to_the_left = [None, 528, 440, None, None, 177, 83]
    for k, people in enumerate(zip(to_the_right, to_the_left, strict=True)):
        for person, x in enumerate(people):
            if x is not None:
                clip.see(k, x, size=(72, 62)[person])
                truth.append(person)
    assert clip.tracks() == truth


def test_who_cannot_be_told_apart_starts_anew():
    """Two who look the same leave; one comes back, right between their places."""
    clip = Clip(30)
    for k in range(10):
        clip.see(k, 100)
        clip.see(k, 160)
    for k in range(17, 30):
        clip.see(k, 130)
    assert clip.tracks() == [0, 1] * 10 + [2] * 13


def test_back_soon_is_the_same_track_and_back_late_a_new_one():
    clip = Clip(60)
    seen = [*range(10), *range(18, 25), *range(40, 50)]  # away for 1.8 s, then for 3.2 s
    for k in seen:
        clip.see(k, 200)
    assert clip.tracks() == [0] * 17 + [1] * 10


def test_a_cut_ends_every_track():
    clip = Clip(20)
    clip.shots[10:] = 1
    for k in range(20):
        clip.see(k, 200)
    assert clip.tracks() == [0] * 10 + [1] * 10


def test_misses_and_samples_that_did_not_decode_are_bridged():
    clip = Clip(30)
    clip.decoded[[7, 8, 9]] = False
    seen = [k for k in range(30) if k not in (4, 7, 8, 9, 15, 16)]
    for k in seen:
        clip.see(k, 100 + 20 * k)
    assert clip.tracks() == [0] * len(seen)


def test_a_sudden_pan_is_followed():
    clip = Clip(20)
    for k in range(20):
        for person in range(3):
            clip.see(k, 100 + 120 * person + 40 * max(0, k - 8), look=60 + 60 * person)
    assert clip.tracks() == [0, 1, 2] * 20


def test_a_zoom_is_followed():
    clip = Clip(20)
    for k in range(20):
        grown = 1.08**k
        clip.see(k, 320 - 60 * grown, 180 - 25 * grown, 50 * grown, look=80)
        clip.see(k, 320 + 40 * grown, 180 - 25 * grown, 50 * grown, look=120)
    assert clip.tracks() == [0, 1] * 20


def test_a_face_seen_once_is_dropped_and_nothing_else_changes():
    clip = Clip(20)
    for k in range(20):
        clip.see(k, 100)
        if k == 9:
            clip.see(k, 400, 30, 80, look=200)
    assert clip.tracks() == [0] * 10 + [-1] + [0] * 10


def test_a_face_seen_once_stays_where_it_had_no_second_chance():
    picture = Clip(1)
    picture.see(0, 100)
    assert picture.tracks() == [0]

    sparse = Clip(10, rate=1.0)
    sparse.see(4, 100)
    assert sparse.tracks() == [0]

    short = Clip(20)  # a shot of two samples, of which it is in one
    short.shots[10:] = 1
    short.shots[12:] = 2
    short.see(10, 100)
    assert short.tracks() == [0]
    short.shots[12:] = 1
    assert short.tracks() == [-1]

    broken = Clip(20)  # hardly anything else decodes
    broken.decoded[:] = False
    broken.decoded[[10, 11]] = True
    broken.see(10, 100)
    assert broken.tracks() == [0]


def test_a_slow_sampling_still_follows():
    """Two samples in a row of one shot may be further apart than the longest absence."""
    clip = Clip(6, rate=0.2)
    for k in range(6):
        clip.see(k, 200 + 5 * k)
    assert clip.tracks() == [0] * 6


def test_numbers_go_by_first_appearance_then_box():
    clip = Clip(10)
    for k in range(10):
        clip.see(k, 300)
        clip.see(k, 100)
        if k > 3:
            clip.see(k, 200)
    assert clip.tracks() == [1, 0] * 4 + [1, 0, 2] * 6


def test_no_faces():
    assert Clip(5).tracks() == []
    assert Clip(0).tracks() == []


@st.composite
def crowded(draw):
    """People who wander, with misses, false faces, gaps, cuts and exact ties (whole pixels)."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, people = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    clip = Clip(n, draw(st.sampled_from([1.0, 2.0, 5.0, 10.0])))
    clip.shots = np.cumsum(rng.random(n) < 0.08).astype(np.int32)
    clip.decoded = rng.random(n) > 0.1
    spread = draw(st.sampled_from([5, 60, 200]))
    walks = np.cumsum(rng.integers(-15, 16, (n, people, 2)), axis=0) + rng.integers(0, spread, (people, 2))
    for k in np.flatnonzero(clip.decoded):
        for person in range(people):
            if rng.random() > 0.2:
                clip.see(int(k), *walks[k, person], look=int(rng.choice([80, 80 + 10 * person])))
        if rng.random() < 0.3:
            clip.see(int(k), *rng.integers(0, 300, 2), 50, look=int(rng.integers(256)))
    return clip


@settings(deadline=None, max_examples=60)
@given(clip=crowded(), seed=st.integers(0, 1000))
def test_the_order_of_faces_does_not_matter(clip, seed):
    tracks = clip.tracks()
    order = np.random.default_rng(seed).permutation(len(tracks))
    faces = list(clip.faces)
    clip.faces = [faces[i] for i in order]
    shuffled = clip.tracks()
    # Faces alike in everything may trade places; which ones share a track may not change.
    assert sorted(zip(faces, tracks, strict=True)) == sorted(zip(clip.faces, shuffled, strict=True))


@settings(deadline=None, max_examples=60)
@given(clip=crowded())
def test_the_kept_faces_alone_give_the_same_tracks(clip):
    """What lets a run be tracked again from its stored rows, which do not hold the dropped faces."""
    tracks = clip.tracks()
    kept = [k for k, track in enumerate(tracks) if track >= 0]
    clip.faces = [clip.faces[k] for k in kept]
    assert clip.tracks() == [tracks[k] for k in kept]


@settings(deadline=None, max_examples=60)
@given(clip=crowded())
def test_what_always_holds(clip):
    tracks = np.array(clip.tracks(), dtype=int)
    samples = np.array([f[0] for f in clip.faces], dtype=int)
    kept = tracks[tracks >= 0]
    assert set(kept) == set(range(len(set(kept))))
    first = [samples[tracks == t].min() for t in range(len(set(kept)))]
    assert first == sorted(first)
    for t in set(kept):
        at = np.sort(samples[tracks == t])
        assert len(set(at)) == len(at)  # one face at a sample
        assert len(set(clip.shots[at])) == 1
        for a, b in pairwise(at):
            near = clip.pts_us[b] - clip.pts_us[a] <= 2_000_000
            assert near or not clip.decoded[a + 1 : b].any()


def test_sample_numbers_need_not_start_at_zero():
    clip = Clip(10)
    for k in range(10):
        clip.see(k, 100)
    clip.sample += 40
    clip.faces = [(k + 40, box, look) for k, box, look in clip.faces]
    assert clip.tracks() == [0] * 10


def test_tracking_refuses_what_does_not_fit():
    clip = Clip(3)
    clip.see(1, 100)
    clip.decoded[1] = False
    with pytest.raises(ValueError, match="not among the decoded ones"):
        clip.tracks()
    clip.decoded[1] = True
    clip.faces = [(1, (5.0, 5.0, 0.0, 10.0), 100)]
    with pytest.raises(ValueError, match="has no area"):
        clip.tracks()
    clip.shots = np.array([1, 0, 0], np.int32)
    with pytest.raises(ValueError, match="Samples must be in order"):
        clip.tracks()


# --- descriptor ----------------------------------------------------------------------------------


def test_a_descriptor_is_of_the_face_and_what_is_below():
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:100, 80:120] = (255, 0, 0)
    image[100:140] = (0, 0, 255)
    cells = np.frombuffer(describe_face(image, np.array([80, 60, 40, 40], np.float32)), np.uint8)
    assert len(cells) == APPEARANCE_BYTES
    cells = cells.reshape(5, 4, 3)
    assert (cells[:2, 1:3] > 0).any(axis=2).all()
    assert (cells[0, 1:3] == (255, 0, 0)).all()
    assert (cells[4] == (0, 0, 255)).all()


def test_a_descriptor_at_the_edge_and_beyond():
    image = np.full((50, 60, 3), 77, np.uint8)
    for box in ([-20, -30, 40, 40], [50, 40, 30, 30], [0, 0, 60, 50], [30, 20, 0.5, 0.5]):
        assert describe_face(image, np.array(box, np.float32)) == bytes([77]) * APPEARANCE_BYTES


def test_a_descriptor_tells_people_apart_and_knows_them_again():
    person = data.astronaut()
    other = np.ascontiguousarray(person[..., ::-1])

    def look(image: np.ndarray, *box: float) -> np.ndarray:
        return np.frombuffer(describe_face(image, np.array(box, np.float32)), np.uint8).astype(float)

    first = look(person, 178, 66, 94, 118)
    again = np.sqrt(((first - look(person, 173, 70, 98, 120)) ** 2).mean())
    different = np.sqrt(((first - look(other, 178, 66, 94, 118)) ** 2).mean())
    assert again < 20 < different
