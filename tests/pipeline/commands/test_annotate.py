"""`affectline annotate`: what is drawn when, and a copy that keeps size, times and sound."""

import os
import shutil
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageColor

from models.detectors import Box
from models.mesh import Pose
from pipeline.cli.main import main
from pipeline.commands.annotate import FacesInTime
from pipeline.draw.overlay import confidence_color, draw_axes, draw_face
from schemas.emotions import COLORS, EMOTIONS
from schemas.tables import SAMPLES, TIMELINES, VIDEOS
from transforms.faces.analyzer import AnalyzedFace
from transforms.faces.view import FaceView
from transforms.tables.files import table_path, write_parquet
from transforms.video.decoder import Decoder
from transforms.video.inputs import find_videos
from transforms.video.records import SampledFrame

HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")
CERTAIN = np.eye(len(EMOTIONS), dtype=np.float32)
SIZE = (160, 122)
BOX = (40.0, 20.0, 50.0, 60.0)
# Irregular, as a phone records in poor light; the file's own clock begins at half a second.
TIMES_MS = [0, 40, 80, 200, 240, 700, 733, 800, 1000, 1040, 1300, 1500]
START_MS = 500
CLICK_MS = 1200  # on the file's own clock
RATE = 48000


def in_box(x, y, w, h):
    return FaceView(Box(x, y, w, h, 0.9))


def sample_rows(pts_us, faces):
    """Rows of `samples`; faces: how many each has, None where it did not decode."""
    return pa.Table.from_pylist(
        [
            {
                "sample": number,
                "pts_us": time,
                "time_s": time / 1e6,
                "shot": 0,
                "status": "decode_error" if count is None else "ok" if count else "no_face",
                "faces": count or 0,
            }
            for number, (time, count) in enumerate(zip(pts_us, faces, strict=True))
        ],
        SAMPLES,
    )


def face_rows(faces):
    """Rows of `timelines` from (pts_us, track, box, probabilities)."""
    return pa.Table.from_pylist(
        [
            {
                "track_id": track,
                "pts_us": time,
                **dict(zip("xywh", box, strict=True)),
                **dict(zip(EMOTIONS, map(float, probabilities), strict=True)),
            }
            for time, track, box, probabilities in faces
        ],
        TIMELINES,
    )


def moving(pts_us, track, x, emotion=HAPPY):
    return pts_us, track, (x, 10.0, 20.0, 30.0), CERTAIN[emotion]


def test_between_samples_a_face_moves_in_a_straight_line():
    faces = FacesInTime(
        sample_rows([0, 200_000], [1, 1]), face_rows([moving(0, 7, 100), moving(200_000, 7, 200, SAD)])
    )
    [face] = faces.at(50_000)
    assert face.track == 7
    assert face.box[:4] == (125, 10, 20, 30)
    assert face.probabilities[[HAPPY, SAD]].tolist() == [0.75, 0.25]


def test_a_face_is_shown_only_nearest_to_samples_that_have_it():
    rows = [moving(0, 1, 10), moving(100, 1, 20), moving(300, 1, 30), moving(300, 2, 99)]
    faces = FacesInTime(sample_rows([0, 100, 200, 300, 400], [1, 1, 0, 2, None]), face_rows(rows))
    expected = {-10: [], 0: [1], 149: [1], 150: [], 249: [], 250: [1, 2], 349: [1, 2], 350: [], 900: []}
    assert {time: [face.track for face in faces.at(time)] for time in expected} == expected
    # Nothing moves across the sample without the face.
    assert faces.at(149)[0].box[0] == 20
    assert faces.at(250)[0].box[0] == 30


def test_after_the_last_sample_its_faces_stay():
    faces = FacesInTime(sample_rows([0, 100], [0, 1]), face_rows([moving(100, 3, 5)]))
    assert [face.track for face in faces.at(190)] == [3]


@given(st.data())
def test_at_a_sample_its_own_rows_are_shown_in_whatever_order_they_come(data):
    times = sorted(data.draw(st.sets(st.integers(0, 10_000_000), min_size=1, max_size=8)))
    rows = [
        (time, track, data.draw(st.tuples(*[st.floats(0, 500, width=32)] * 4)), CERTAIN[track])
        for time in times
        for track in data.draw(st.sets(st.integers(0, 6), max_size=4))
    ]
    counts = [sum(row[0] == time for row in rows) for time in times]
    faces = FacesInTime(sample_rows(times, counts), face_rows(data.draw(st.permutations(rows))))
    for time in times:
        shown = [(time, face.track, face.box[:4]) for face in faces.at(time)]
        assert shown == [row[:3] for row in sorted(rows, key=lambda row: row[:2]) if row[0] == time]


def test_a_box_has_its_emotions_colour_and_fades_with_confidence():
    assert confidence_color(COLORS["happy"], 1.0) == ImageColor.getrgb(COLORS["happy"])
    unsure, sure = confidence_color(COLORS["happy"], 0.3), confidence_color(COLORS["happy"], 0.9)
    assert all(low < high for low, high in zip(unsure, sure, strict=True))
    image = np.full((240, 320, 3), 255, np.uint8)
    draw_face(image, AnalyzedFace(in_box(100, 120, 80, 90), CERTAIN[SAD]), "#1")
    assert tuple(image[165, 100]) == ImageColor.getrgb(COLORS["sad"])
    assert (image[165, 140] == 255).all()  # the face itself stays free
    assert (image[:40] == 255).all()


def test_the_axes_point_where_the_head_does_and_nothing_is_drawn_where_that_is_unknown():
    box = Box(40.0, 40.0, 100.0, 100.0, 0.9)
    image = np.zeros((200, 200, 3), np.uint8)
    draw_axes(image, FaceView(box))
    assert not image.any()
    draw_axes(image, FaceView(box, Pose(40.0, 0.0, 0.0)))
    blue = np.argwhere((image[..., 2] > 200) & (image[..., 0] < 120))
    green = np.argwhere((image[..., 1] > 150) & (image[..., 0] < 100) & (image[..., 2] < 100))
    assert blue[:, 1].mean() > 121  # right of the cross's middle
    assert green[:, 0].mean() < 121  # above it


def test_bars_are_as_high_as_probabilities():
    heights = []
    for probability in (0.25, 0.5, 1.0):
        probabilities = np.full(7, 0, np.float32)
        probabilities[HAPPY], probabilities[SAD] = probability, 1 - probability
        image = np.zeros((480, 640, 3), np.uint8)
        draw_face(image, AnalyzedFace(in_box(200, 200, 160, 160), probabilities), "#1")
        bars = (image[:195] == ImageColor.getrgb(COLORS["happy"])).all(axis=2)
        heights.append(int(bars.any(axis=1).sum()))
    assert heights[2] > 20
    assert heights == pytest.approx([heights[2] / 4, heights[2] / 2, heights[2]], abs=1.5)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 700)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (-50, -50, 900, 900), (600, 20, 30, 30), (5, 5, 0, 0)])
def test_any_box_in_any_picture_can_be_drawn(size, box):
    image = np.zeros((*size, 3), np.uint8)
    draw_face(image, AnalyzedFace(in_box(*box), CERTAIN[0]), "#12345")


def make_clip(path, times_ms=TIMES_MS, size=SIZE, sound=True):
    """A grey clip with a click in its sound; both on a clock that does not begin at 0."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "2"})
        video.width, video.height = size
        video.pix_fmt = "yuv444p"  # also for odd sizes
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono") if sound else None
        for time in times_ms:
            frame = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 128, np.uint8), format="rgb24")
            frame.pts, frame.time_base = START_MS + time, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            samples = np.zeros((1, RATE * 2), np.int16)
            samples[0, CLICK_MS * RATE // 1000 :][:480] = 20_000
            for at in range(0, samples.shape[1], 1000):
                frame = av.AudioFrame.from_ndarray(samples[:, at : at + 1000], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                container.mux(audio.encode(frame))
    return path


def write_tables(out, clip, faces, **changes):
    """What a run over the clip's folder would have stored, at every frame."""
    [video] = find_videos([str(clip)])
    times = [1000 * time for time in TIMES_MS]
    row = {
        "uri": video.uri,
        "fingerprint": video.fingerprint,
        "status": "ok",
        "width": SIZE[0],
        "height": SIZE[1],
    }
    tables = {
        "samples": sample_rows(times, [sum(face[0] == time for face in faces) for time in times]),
        "timelines": face_rows(faces),
        "videos": pa.Table.from_pylist([row | changes], VIDEOS),
    }
    for name, table in tables.items():
        write_parquet(table, table_path(str(out), name, video.video_id), str(out))
    return out


def affectline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mkv")


@pytest.fixture
def out(tmp_path, clip):
    """A face in all frames but those from 0.2 to 0.7 s."""
    faces = [(1000 * time, 0, BOX, CERTAIN[SAD]) for time in TIMES_MS if not 200 <= time <= 700]
    return write_tables(tmp_path / "out", clip, faces)


def test_the_copy_keeps_size_and_times_and_shows_faces_where_they_are(tmp_path, clip, out):
    result = affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path / 'copy.mp4'}: 12 frames, 9 with a face, with sound.\n"
    frames = read(tmp_path / "copy.mp4")
    assert [time for time, _ in frames] == [time / 1000 for time in TIMES_MS]
    for time, image in frames:
        assert image.shape == (SIZE[1], SIZE[0], 3)
        edge = image[50:75, 40].astype(int)
        if 0.2 <= time <= 0.7:
            assert abs(image.astype(int) - 128).max() <= 4
        else:
            # Chroma has half the resolution: hue and darkness, not the exact colour.
            assert (edge[:, 2] - edge[:, 0]).min() > 20
            assert np.abs(image[100:, 120:].astype(int) - 128).max() <= 12


def test_the_sound_stays_in_step_with_the_pictures(tmp_path, clip, out):
    affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        [stream] = container.streams.audio
        assert stream.codec_context.name == "aac"
        loud = [
            float(frame.time) + int(np.abs(samples).argmax()) / stream.rate
            for frame in container.decode(stream)
            if np.abs(samples := frame.to_ndarray()[0]).max() > 0.3
        ]
    assert loud[0] == pytest.approx((CLICK_MS - START_MS) / 1000, abs=0.012)


def test_silent_videos_and_odd_sizes_are_kept(tmp_path):
    clip = make_clip(tmp_path / "odd.mkv", size=(161, 121), sound=False)
    out = write_tables(tmp_path / "out", clip, [], width=161, height=121)
    result = affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("0 with a face, without sound.\n")
    frames = read(tmp_path / "copy.mp4")
    assert {image.shape for _, image in frames} == {(121, 161, 3)}


def test_a_stream_that_changes_its_size_is_scaled_to_the_first(tmp_path):
    parts = [
        make_clip(tmp_path / "a.ts", [0, 40, 80], sound=False),
        make_clip(tmp_path / "b.ts", [1000, 1040], (240, 180), sound=False),
    ]
    clip = tmp_path / "clip.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(clip)) as container:
        assert {frame.width for frame in container.decode(video=0)} == {160, 240}
    out = write_tables(tmp_path / "out", clip, [])
    result = affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    assert result.exit_code == 0, result.output
    frames = read(tmp_path / "copy.mp4")
    with Decoder() as decoder:  # the frame at the seam may be lost
        probe = decoder.probe(str(clip))
        size = probe.width, probe.height
        items = list(decoder.read(str(clip), 0, -1, probe.zero_pts, size, Fraction(0)))
    kept = [item.pts_us / 1e6 for item in items if isinstance(item, SampledFrame)]
    assert [time for time, _ in frames] == pytest.approx(kept)
    assert {kept[0], kept[-1]} == {0, 1.04}
    assert {image.shape for _, image in frames} == {(SIZE[1], SIZE[0], 3)}
    assert max(np.abs(image.astype(int) - 128).max() for _, image in frames) <= 4


def test_the_last_frame_lasts_as_long_as_in_the_source(tmp_path, clip, out):
    affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        [stream] = container.streams.video
        assert float(stream.duration * stream.time_base) == pytest.approx(1.54, abs=0.001)


def test_a_video_is_known_whichever_folder_above_it_was_the_input(tmp_path, clip, out):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    moved = shutil.move(clip, folder / "clip.mkv")
    # An id that `run in/` gives: the path below `in` is deep/clip.mkv.
    [known] = find_videos([str(tmp_path / "in")])
    [alone] = find_videos([str(moved)])
    for table in ("videos", "samples", "timelines"):
        os.rename(out / table / f"video_id={alone.video_id}", out / table / f"video_id={known.video_id}")
    assert affectline("annotate", moved, out, "-o", tmp_path / "copy.mp4").exit_code == 0
    # A copy elsewhere has another time of change; its size tells.
    os.utime(moved)
    assert affectline("annotate", moved, out, "-o", tmp_path / "copy.mp4").exit_code == 0


def test_only_a_file_that_was_annotated_before_is_replaced(tmp_path, clip, out):
    for name, content in (("notes.txt", b"mine"), ("own.mp4", clip.read_bytes())):
        own = tmp_path / name
        own.write_bytes(content)
        result = affectline("annotate", clip, out, "-o", own)
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
        assert (
            f"{own} is there already and was not written by affectline; give another name." in result.output
        )
        assert own.read_bytes() == content
    for _ in range(2):
        assert affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4").exit_code == 0


def test_a_gap_of_hours_leaves_every_frame_at_its_time(tmp_path):
    times = [0, 40, 80, 2_200_000, 2_200_040, 50_000_000, 50_000_040]
    clip = make_clip(tmp_path / "gap.mkv", times, sound=False)
    out = write_tables(tmp_path / "out", clip, [])
    result = affectline("annotate", clip, out, "-o", tmp_path / "copy.mp4")
    assert result.exit_code == 0, result.output
    assert [time for time, _ in read(tmp_path / "copy.mp4")] == pytest.approx([t / 1000 for t in times])


def test_a_folder_of_videos_becomes_a_folder_of_copies(tmp_path, clip, out):
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(clip, folder / "sub" / clip.name)
    write_tables(out, folder / "sub" / clip.name, [])
    shutil.copy(clip, folder / "unknown.mp4")
    result = affectline("annotate", folder, out, "-o", tmp_path / "copies")
    assert result.exit_code == 3
    assert "holds nothing of" in result.stderr
    copy = (tmp_path / "copies/sub" / clip.name).with_suffix(".mp4")
    assert result.stdout.startswith(f"{copy}: ")
    assert [path for path in (tmp_path / "copies").rglob("*") if path.is_file()] == [copy]
    shutil.copy(clip, folder / "unknown.mkv")
    result = affectline("annotate", folder, out, "-o", tmp_path / "others")
    assert result.exit_code == 2
    assert "would both be drawn to" in result.output
    assert not (tmp_path / "others").exists()


def test_what_cannot_be_is_one_sentence_and_writes_nothing(tmp_path, clip, out):
    def refused(*arguments, code=2):
        result = affectline("annotate", *arguments)
        assert result.exit_code == code, result.output
        assert len(result.output.splitlines()) == 1
        assert not (tmp_path / "copy.mp4").exists()
        return result.output

    copy = ("-o", tmp_path / "copy.mp4")
    assert "does not exist" in refused(tmp_path / "none.mp4", out, *copy)
    assert "holds nothing of" in refused(clip, tmp_path, *copy)
    assert "is the video itself" in refused(clip, out, "-o", clip)
    assert "is a folder" in refused(clip, out, "-o", tmp_path)
    assert "give a file in a folder" in refused(clip, out, "-o", tmp_path / "no" / "copy.mp4")
    write_tables(out, clip, [], status="failed", error="The file is empty.")
    assert "could not be read: The file is empty." in refused(clip, out, *copy)
    write_tables(out, clip, [], width=99)
    assert "is not the video that the tables were made of" in refused(clip, out, *copy)
    clip.write_bytes(b"\0" * len(clip.read_bytes()))
    assert "has changed since" in refused(clip, out, *copy)
    write_tables(out, clip, [])
    assert "cannot be opened as a video" in refused(clip, out, *copy, code=1)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
