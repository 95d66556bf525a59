"""`affectline annotate`: every frame in its time, boxes where faces are, sound where there was some."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.annotate import annotate, faces_at, find_video
from pipeline.cli import main
from pipeline.drawing import DrawnFace, draw_faces, emotion_color
from pipeline.errors import UsageError
from pipeline.report.summarize import read_tracks, read_video
from schemas.emotions import EMOTIONS
from tests import synthetic

GREY = 128


def write_clip(path, times_ms, size=(320, 240), sound_hz=None, start_ms=0):
    """A grey clip whose frames are shown at these times, with a tone of the same length."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p" if size[0] % 2 == 0 else "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream("aac", rate=sound_hz, layout="mono") if sound_hz else None
        for time in times_ms:
            image = np.full((size[1], size[0], 3), GREY, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = start_ms + time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            count = sound_hz * (times_ms[-1] + start_ms) // 1000 // 1024 * 1024
            wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / sound_hz)
            for start in range(0, count, 1024):
                samples = wave[None, start : start + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = sound_hz, start, Fraction(1, sound_hz)
                container.mux(tone.encode(frame))
            container.mux(tone.encode(None))
    return path


def tables_of(clip, out, people, seconds=2, **rest):
    status = os.stat(clip)
    fingerprint = f"{status.st_size}-{status.st_mtime_ns}"
    return synthetic.write(
        out, [synthetic.timeline(str(clip), seconds, people, fingerprint=fingerprint, **rest)]
    )


def read_frames(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        zero = frames[0].pts * frames[0].time_base
        return [(float(f.pts * f.time_base - zero), f.to_ndarray(format="rgb24")) for f in frames]


def has_box(image):
    return np.abs(image.astype(int) - GREY).max() > 60


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_frames_keep_their_times_and_faces_their_places(tmp_path, suffix):
    times = [time for time in range(0, 2000, 40) if time % 200 != 80]  # at a variable rate
    clip = write_clip(tmp_path / f"clip.{suffix}", times, start_ms=500)
    tables_of(clip, tmp_path, [(0.4, 1.0)])
    target = tmp_path / "out.mp4"
    annotate(str(clip), str(tmp_path), str(target))
    after = read_frames(target)
    # A transport stream counts in 1/90000 s.
    assert [time for time, _ in after] == pytest.approx([time / 1000 for time in times], abs=1e-5)
    assert after[0][1].shape == (240, 320, 3)
    # Samples 2, 3 and 4 of five a second saw the face.
    for time, image in after:
        assert has_box(image) == (0.4 <= round(time, 3) <= 0.8)


@pytest.mark.parametrize("start_ms", [0, 700])
def test_sound_stays_with_the_picture(tmp_path, start_ms):
    clip = write_clip(tmp_path / "clip.mkv", list(range(0, 2000, 100)), sound_hz=44_100, start_ms=start_ms)
    tables_of(clip, tmp_path, [(0, 2)])
    annotate(str(clip), str(tmp_path), str(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
        frames = list(container.decode(audio=0))
    assert frames[0].pts == 0
    heard = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert len(heard) / 44_100 == pytest.approx(1.9, abs=0.06)
    middle = heard[20_000:60_000]
    assert np.abs(np.fft.rfft(middle)).argmax() * 44_100 / len(middle) == pytest.approx(440, abs=2)


def test_without_sound_there_is_none(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [0, 40])
    tables_of(clip, tmp_path, [])
    annotate(str(clip), str(tmp_path), str(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_odd_sides_get_one_pixel_more(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [0, 40, 80], size=(161, 121))
    tables_of(clip, tmp_path, [])
    annotate(str(clip), str(tmp_path), str(tmp_path / "out.mp4"))
    assert read_frames(tmp_path / "out.mp4")[0][1].shape == (122, 162, 3)


def test_faces_between_samples_are_interpolated(tmp_path):
    [video_id] = synthetic.write(
        tmp_path, [synthetic.timeline("/v/clip.mp4", 4, [(0, 4), (1, 2)], lost=(2, 3), seed=3)]
    )
    tracks = read_tracks(read_video(str(tmp_path), video_id))
    whole = tracks[0]
    for row in (0, 4):
        between = (int(whole.pts_us[row]) + int(whole.pts_us[row + 1])) // 2
        face = faces_at(tracks, between)[0]
        box = (whole.boxes[row] + whole.boxes[row + 1]) / 2
        assert face[:4] == pytest.approx(box.tolist())
        np.testing.assert_allclose(face.probabilities, (whole.smoothed[row] + whole.smoothed[row + 1]) / 2)
        exact = faces_at(tracks, int(whole.pts_us[row]))[0]
        assert exact[:4] == pytest.approx(whole.boxes[row].tolist())
    for time_us, count in [(500_000, 1), (1_500_000, 2), (1_900_000, 0), (2_500_000, 0), (3_100_000, 1)]:
        assert len(faces_at(tracks, time_us)) == count
    assert faces_at(tracks, 3_900_000) == []
    assert faces_at([], 0) == []


def test_drawing_stays_inside_and_tells_certainty():
    probabilities = np.full(7, 0.02)
    probabilities[3] = 0.88
    for x, y in [(-50, -50), (0, 0), (100, 90)]:
        image = np.full((96, 128, 3), GREY, np.uint8)
        draw_faces(image, [DrawnFace(x, y, 60, 60, probabilities, "#1")])
        assert has_box(image)
    happy = EMOTIONS.index("happy")
    assert sum(emotion_color(happy, 0.9)) > sum(emotion_color(happy, 0.3)) > 0
    assert emotion_color(happy, 1.0) == (0xF0, 0xE4, 0x42)


def test_the_video_is_found_by_its_file(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [0, 40])
    [video_id] = tables_of(clip, tmp_path / "out", [])
    out = str(tmp_path / "out")
    assert find_video(str(clip), out) == video_id
    (tmp_path / "moved").mkdir()
    moved = clip.rename(tmp_path / "moved" / "clip.mp4")
    assert find_video(str(moved), out) == video_id
    os.utime(moved, (1, 1))
    with pytest.raises(UsageError, match="holds nothing of"):
        find_video(str(moved), out)
    moved.rename(clip)
    with pytest.raises(UsageError, match="has changed"):
        find_video(str(clip), out)
    with pytest.raises(UsageError, match="is no file"):
        find_video(str(moved), out)


def test_the_command_says_what_it_wrote_and_refuses_the_rest(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [0, 40])
    tables_of(clip, tmp_path, [])

    def run(*arguments):
        return CliRunner().invoke(main, ["annotate", *map(str, arguments)])

    done = run(clip, tmp_path, "-o", tmp_path / "out.mp4")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'out.mp4'}\n")
    assert run(clip, tmp_path, "-o", tmp_path / "out.avi").exit_code == 2
    assert run(clip, tmp_path, "-o", clip).exit_code == 2
    assert not list(tmp_path.glob("*.part"))
