"""Faces in a stream of frames: found, followed, numbered, smoothed; and `affectline live` around it.

Long, because all of it follows the same drawn faces.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.live.following import flow_picture, follow
from pipeline.live.live import LOOK_EVERY_US, LiveFaces
from pipeline.live.stream import Stream, VideoFile, watch
from schemas.emotions import EMOTIONS
from schemas.errors import RunError, UsageError
from tests.helpers.clips import astronaut_clip
from tests.helpers.drawn_faces import SIDE, DrawnClassifier, DrawnDetector, draw
from transforms.faces.analyzer import Analyzer
from transforms.timelines.smoothing import SMOOTHING_METHODS, smooth

FRAME_US = 33_333


def live(detector=None, classifier=None, smoothing="hmm", **settings):
    analyzer = Analyzer(detector or DrawnDetector(), classifier or DrawnClassifier())
    return LiveFaces(analyzer, smoothing, **settings)


def frames_in(path):
    with VideoFile(str(path)) as file:
        return len(list(file.frames(threading.Event())))


def path_of(number):
    """Where a face that circles is at a frame, at up to 7 pixels a frame."""
    return 250 + 120 * np.sin(number / 20), 160 + 60 * np.cos(number / 15)


# Following


def test_a_box_follows_what_moves_and_grows():
    before = draw((200, 150))
    moved, found = follow(
        flow_picture(before), flow_picture(draw((216, 141))), 2.0, np.array([[200, 150, SIDE, SIDE]])
    )
    assert found.tolist() == [True]
    assert moved[0] == pytest.approx([216, 141, SIDE, SIDE], abs=1.0)
    boxes = np.array([[200.0, 150, SIDE, SIDE]] * 2)
    still, found = follow(flow_picture(before), flow_picture(before), 2.0, boxes)
    assert found.all()
    assert still == pytest.approx(boxes, abs=0.01)


def test_a_box_grows_with_its_face():
    picture = draw((260, 180))[60:420, 80:560]
    larger = cv2.resize(picture[9:-9, 12:-12], (480, 360))  # from 456 x 342
    box = np.array([[180.0, 120.0, SIDE, SIDE]])
    factor = 480 / 456
    [moved], [found] = follow(flow_picture(picture), flow_picture(larger), 480 / 320, box)
    assert found
    assert moved == pytest.approx(
        [(180 - 12) * factor, (120 - 9) * factor, SIDE * factor, SIDE * factor], abs=2.5
    )


def test_a_box_whose_face_is_gone_stays_and_says_so():
    box = np.array([[200.0, 150, SIDE, SIDE]])
    blank = np.full((240, 320), 128, np.uint8)
    moved, found = follow(flow_picture(draw((200, 150))), blank, 2.0, box)
    assert not found.any()
    assert np.array_equal(moved, box)


# A stream of frames


def test_every_frame_has_the_face_but_few_are_searched():
    detector = DrawnDetector()
    faces = live(detector)
    for number in range(120):
        x, y = path_of(number)
        [face] = faces.see(number * FRAME_US, draw((x, y)))
        assert face.track == 0
        assert face.box[:4] == pytest.approx([round(x), round(y), SIDE, SIDE], abs=4)
        assert (face.emotion, face.box.score) == ("happy", 0.99)
    # One in four: the first frame at or after 0.12 s since the last search.
    assert detector.looks == 30


def test_no_frame_waits_for_the_search_and_its_boxes_are_carried_on():
    class Later(Executor):
        def __init__(self):
            self.waiting = []

        def submit(self, function, *arguments):
            self.waiting.append((Future(), function, arguments))
            return self.waiting[-1][0]

        def finish(self):
            [(future, function, arguments)] = self.waiting
            self.waiting.clear()
            future.set_result(function(*arguments))

    later = Later()
    faces = live(beside=later)
    for number in range(4):
        assert faces.see(number * FRAME_US, draw((200 + 6 * number, 150))) == []
    assert len(later.waiting) == 1  # one search at a time
    later.finish()
    [face] = faces.see(4 * FRAME_US, draw((224, 150)))
    assert face.box[:4] == pytest.approx([224, 150, SIDE, SIDE], abs=2)


def see_twice(faces, thread):
    """The second time, the search of the first is over."""
    faces.see(0, draw())
    thread.shutdown(wait=True)
    faces.see(FRAME_US, draw())


def test_what_a_search_raises_is_raised():
    class Broken(DrawnDetector):
        def detect(self, images):
            raise RuntimeError("no detector")

    with ThreadPoolExecutor(1) as thread:
        faces = live(Broken(), beside=thread)
        with pytest.raises(RuntimeError, match="no detector"):
            see_twice(faces, thread)


def test_a_face_that_returns_soon_keeps_its_number_and_later_is_a_new_one():
    faces = live()
    numbers = []
    for number in range(165):
        absent = 30 <= number < 52 or 75 <= number < 127
        seen = faces.see(number * 2 * FRAME_US, draw(*[] if absent else [(200, 150)]))
        numbers.append([face.track for face in seen])
    assert numbers[29] == [0]
    assert numbers[40] == []  # gone after a moment
    assert numbers[70] == [0]  # 1.5 s
    assert numbers[164] == [1]  # 3.5 s


def test_looks_far_apart_still_make_one_track():
    faces = live()
    for number in range(4):
        seen = faces.see(number * 3_000_000, draw((200 + 10 * number, 150)))
    assert [face.track for face in seen] == [0]


def test_a_cut_ends_all_tracks():
    faces = live()
    for number in range(40):
        faces.see(number * FRAME_US, draw((200, 150)))
    for number in range(40, 60):
        seen = faces.see(number * FRAME_US, draw((205, 150), wall=64))
    assert [face.track for face in seen] == [1]


def test_two_faces_keep_their_numbers_whichever_the_detector_gives_first():
    class Shuffled(DrawnDetector):
        def detect(self, images):
            return [found[:: 1 if self.looks % 2 else -1] for found in super().detect(images)]

    faces = live(Shuffled())
    for number in range(60):
        seen = faces.see(number * FRAME_US, draw((60, 100 + number), (400, 200 - number)))
    assert [face.track for face in seen] == [0, 1]
    assert [face.box[0] for face in seen] == pytest.approx([60, 400], abs=2)


def test_what_the_detector_sees_once_is_not_shown_and_what_it_misses_once_stays():
    detector = DrawnDetector()
    faces = live(detector)
    shown = []
    for number in range(90):
        drawn = [(60, 100)]
        if number == 60:  # a search falls on it
            drawn.append((400, 200))
        detector.blind = number == 40
        shown.append(faces.see(number * FRAME_US, draw(*drawn)))
    assert all([face.track for face in seen] == [0] for seen in shown)


@pytest.mark.parametrize("method", SMOOTHING_METHODS)
def test_smoothing_is_the_pipelines_own_of_the_past(method):
    classifier = DrawnClassifier(["happy", "happy", "sad", "happy", "surprise", "sad", "sad"])
    faces = live(classifier=classifier, smoothing=method)
    times = []
    for number in range(60):
        started = len(classifier.given)
        [face] = faces.see(number * FRAME_US, draw((200, 150)))
        if len(classifier.given) > started:
            times.append(number * FRAME_US)
        given = np.stack(classifier.given)
        expected = smooth(method, np.array(times), given, prior=classifier.spec.prior)[-1]
        assert face.probabilities == pytest.approx(expected, abs=1e-6)
    assert len(times) == 15


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 400_000), min_size=2, max_size=25))
def test_any_times_that_ascend_are_fine(steps):
    detector = DrawnDetector()
    faces = live(detector)
    searched = None
    for pts_us in np.cumsum(steps).tolist():
        before = detector.looks
        [face] = faces.see(pts_us, draw((200, 150)))
        due = searched is None or pts_us - searched >= LOOK_EVERY_US
        assert detector.looks - before == due
        searched = pts_us if due else searched
        assert (face.track, face.emotion) == (0, "happy")


def test_times_must_ascend():
    faces = live()
    faces.see(1000, draw())
    with pytest.raises(ValueError, match="cannot follow"):
        faces.see(1000, draw())


def test_classes_that_the_model_does_not_know_are_null():
    faces = live(classifier=DrawnClassifier(unknown=["disgust", "fear"]))
    for number in range(10):
        [face] = faces.see(number * FRAME_US, draw((200, 150)))
    told = face.as_json()
    assert told["probabilities"]["disgust"] is None
    assert told["emotion"] == "happy"
    assert sum(value or 0 for value in told["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_an_hour_is_as_light_as_a_minute():
    faces = live()
    image = draw((200, 150))
    most = 0
    for number in range(100):
        faces.see(number * 150_000, image)
        most = max(most, len(faces._looks))
    assert most <= 10_000_000 // 150_000 + 1


# Sources


def test_a_file_is_seen_frame_by_frame_at_its_own_times(tmp_path):
    clip = astronaut_clip(tmp_path / "clip.mp4", 1.0)
    lines = []
    sentence = watch(str(clip), lambda pts_us, image: [], None, lines.append)
    told = [json.loads(line) for line in lines]
    assert sentence == f"{clip} ended after 25 frames (1.0 s)."
    assert [row["time_s"] for row in told] == pytest.approx([number / 25 for number in range(25)])
    assert {(row["width"], row["height"]) for row in told} == {(240, 240)}


def test_the_annotated_file_has_every_frame_with_what_was_told(tmp_path):
    clip = tmp_path / "drawn.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "rgb24"
        for number in range(12):
            image = draw((200 + 4 * number, 150))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    output = tmp_path / "seen.mp4"
    lines = []
    watch(str(clip), live().see, str(output), lines.append)
    told = [json.loads(line)["faces"] for line in lines]
    assert [face["x"] for [face] in told] == pytest.approx([200 + 4 * number for number in range(12)], abs=3)
    assert all(list(face["probabilities"]) == list(EMOTIONS) for [face] in told)
    with VideoFile(str(output)) as file:
        frames = list(file.frames(threading.Event()))
    assert [frame.pts_us for frame in frames] == [number * 40_000 for number in range(12)]
    assert file.problems == []
    for number, frame in enumerate(frames):
        plain = draw((200 + 4 * number, 150))
        changed = np.abs(frame.image.astype(int) - plain).max(axis=2) > 60
        rows, columns = np.nonzero(changed)
        # The box is drawn around the face, its label above.
        assert columns.min() == pytest.approx(200 + 4 * number, abs=8)
        assert rows.min() < 150
        assert rows.max() == pytest.approx(150 + SIDE, abs=8)
        assert not changed[:, :150].any()


def command(*arguments):
    return CliRunner().invoke(main, ["live", *map(str, arguments)])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nothing.mp4", "nothing.mp4 is neither a file, a camera's number nor a URL"),
        ("97", "The camera 97 cannot be opened; check that it is there"),
        ("rtsp://127.0.0.1:9/none", "rtsp://127.0.0.1:9/none cannot be opened"),
    ],
)
def test_a_source_that_cannot_be_opened_gets_a_sentence(source, sentence):
    with pytest.raises(UsageError, match=sentence):
        watch(source, lambda pts_us, image: [], None, print)


def test_a_broken_file_gets_a_sentence(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video" * 100)
    with pytest.raises(UsageError, match=r"broken\.mp4 cannot be opened: "):
        watch(str(broken), lambda pts_us, image: [], None, print)


def test_an_output_that_cannot_be_written_is_refused_first(tmp_path):
    clip = astronaut_clip(tmp_path / "clip.mp4", 0.2)
    for output in (tmp_path, tmp_path / "nowhere" / "out.mp4", clip):
        with pytest.raises(UsageError):
            watch(str(clip), lambda pts_us, image: pytest.fail("it began"), str(output), print)


def test_wrong_names_are_refused():
    for option in ("--model", "--detector", "--smoothing"):
        result = command("nothing.mp4", option, "absent")
        assert result.exit_code == 2
        assert "There is no" in result.output


class RtspServer:
    """Offers one H.264 stream on loopback to one client, over RTP inside the RTSP connection (RFC 2326)."""

    def __init__(self, frames):
        self._frames = frames
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listening.getsockname()[1]}/camera"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        rtp.settimeout(0.5)
        client, _ = self._listening.accept()
        with client, rtp, client.makefile("rb") as asked:
            while request := asked.readline().decode():
                method = request.split()[0]
                headers = {}
                while (line := asked.readline().decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                self._answer(client, method, headers["cseq"])
                if method == "PLAY":
                    self._play(client, rtp)
                    return

    def _answer(self, client, method, number):
        about = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
            "PLAY": "Session: 1\r\n",
        }.get(method, "")
        body = ""
        if method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            body += "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
            about = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{about}\r\n{body}".encode())

    def _play(self, client, rtp):
        with av.open(f"rtp://127.0.0.1:{rtp.getsockname()[1]}", "w", format="rtp") as container:
            options = {"tune": "zerolatency", "preset": "ultrafast", "g": "5"}
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for image in self._frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    container.mux(packet)
                self._forward(client, rtp)
                time.sleep(0.04)

    @staticmethod
    def _forward(client, rtp):
        rtp.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = rtp.recv(2000)
                client.sendall(b"$\x00" + len(packet).to_bytes(2, "big") + packet)


def test_an_rtsp_stream_is_seen_until_it_ends():
    server = RtspServer([draw((100 + 4 * number, 150)) for number in range(50)])
    lines = []
    with pytest.raises(RunError, match=r"sends no more pictures after \d+ frames"):
        watch(server.url, live().see, None, lines.append)
    told = [json.loads(line) for line in lines]
    assert len(told) >= 5
    assert {(row["width"], row["height"]) for row in told} == {(640, 480)}
    places = [face["x"] for row in told for face in row["faces"]]
    assert len(places) >= 5
    assert {face["track"] for row in told for face in row["faces"]} == {0}
    assert places[0] < places[-1] <= 300


class FakeCapture:
    """A camera of five numbered frames."""

    def __init__(self, *_arguments):
        self.number = 0

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def read(self):
        time.sleep(0.02)
        self.number += 1
        blue = np.zeros((48, 64, 3), np.uint8)
        blue[..., 0] = 200
        return self.number <= 5, blue

    def release(self):
        pass


def test_a_camera_gives_rgb_frames_and_its_end_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.live.stream.cv2.VideoCapture", FakeCapture)
    colors, lines = [], []

    def see(_pts_us, image):
        colors.append(image[0, 0].tolist())
        return []

    output = tmp_path / "seen.mp4"
    with pytest.raises(RunError, match=r"0 sends no more pictures after \d frames"):
        watch("0", see, str(output), lines.append)
    assert 1 <= len(lines) <= 5
    assert colors[0] == [0, 0, 200]
    times = [json.loads(line)["time_s"] for line in lines]
    assert times == sorted(set(times))
    assert frames_in(output) == len(lines)  # what came is kept


def test_a_slow_viewer_gets_the_newest_frame(monkeypatch):
    monkeypatch.setattr("pipeline.live.stream.cv2.VideoCapture", FakeCapture)
    with Stream("0") as stream:
        frames = stream.frames(threading.Event())
        first = next(frames)
        time.sleep(0.3)
        second = next(frames)
    assert second.pts_us - first.pts_us > 50_000


def test_interrupting_completes_the_file(tmp_path):
    clip = astronaut_clip(tmp_path / "clip.mp4", 2.0)
    output = tmp_path / "seen.mp4"
    lines = []

    def see(_pts_us, _image):
        if len(lines) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return []

    before = signal.getsignal(signal.SIGINT)
    assert watch(str(clip), see, str(output), lines.append) == "Stopped after 6 frames (0.2 s)."
    assert signal.getsignal(signal.SIGINT) is before
    assert frames_in(output) == len(lines) == 6


def test_it_ends_when_nobody_reads_any_more(tmp_path):
    clip = astronaut_clip(tmp_path / "clip.mp4", 1.0)
    lines = []

    def tell(line):
        if len(lines) == 3:
            raise BrokenPipeError
        lines.append(line)

    assert watch(str(clip), lambda pts_us, image: [], None, tell) == "Stopped after 4 frames (0.1 s)."


def test_the_command_prints_lines_and_says_how_it_ended(tmp_path, capfd):
    clip = astronaut_clip(tmp_path / "clip.mp4", 0.4)
    options = ["--detector", "haar", "--smoothing", "mode", "--window", "0.5"]
    result = command(clip, *options)
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [len(row["faces"]) for row in told] == [1] * 10
    assert {face["track"] for row in told for face in row["faces"]} == {0}
    assert capfd.readouterr().err == f"affectline: {clip} ended after 10 frames (0.4 s).\n"
