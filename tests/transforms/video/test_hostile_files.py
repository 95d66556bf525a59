"""Files that name other files or servers, or claim what no video has."""

import socket
import struct
from fractions import Fraction

import pytest

from schemas.errors import UnreadableVideoError
from tests.helpers.opened import openings
from tests.helpers.videos import SIZE, even, write_video
from transforms.video.decoder import Decoder

SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" codecs="avc1.42c00b">'
    "<BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{other}\n"
IMF = (
    '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<Id>urn:uuid:00000000-0000-0000-0000-000000000000</Id><SegmentList><Segment><SequenceList/>"
    "</Segment></SegmentList><!-- {other} --></CompositionPlaylist>"
)

# Name of the file: what stands in it.
REFERENCES = {
    "list.m3u8": HLS,
    "master.m3u8": MASTER,
    "list.mp4": HLS,  # FFmpeg goes by the content
    "concat.txt": "ffconcat version 1.0\nfile '{other}'\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{other}'\nduration 1\n",
    "stream.sdp": SDP,
    "manifest.mpd": MPD,
    "package.xml": IMF,
    "list.pls": "[playlist]\nFile1={other}\nNumberOfEntries=1\n",
    "list.asx": '<asx version="3.0"><entry><ref href="{other}"/></entry></asx>',
    "play.ram": "{other}\n",
    "index.idx": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n{other}\n",
}


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with a sound video that nobody may open."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_video(folder / "other.ts", even(25, 3600), tick=Fraction(1, 90000))
    write_video(folder / "other.mp4", even(25))
    return folder


@pytest.fixture
def server():
    """A listening socket that counts who comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def assert_nobody_came(server):
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("scheme", ["", "file://", "http://", "tcp://"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_file_that_names_others_opens_none(name, scheme, tmp_path, elsewhere, server, decoder):
    port = server.getsockname()[1]
    local = scheme in ("", "file://")
    other = f"{scheme}{elsewhere}/other.ts" if local else f"{scheme}127.0.0.1:{port}/other.ts"
    path = tmp_path / name
    path.write_text(REFERENCES[name].format(other=other, port=port))
    with openings(elsewhere) as opened, pytest.raises(UnreadableVideoError):
        decoder.probe(str(path))
    assert opened == []
    assert_nobody_came(server)


def with_its_media_elsewhere(path, other):
    """An MP4 whose frames are said to lie in another file, by each kind of reference that MOV has."""
    data = bytearray(write_video(path, even(25)).read_bytes())
    name = b"elsewhere/other.mp4"
    long_path = bytes([0, 2]) + struct.pack(">H", len(name)) + name
    full = str(other).encode()
    posix = struct.pack(">HH", 18, len(full)) + full
    alias = bytearray(150)
    alias[8:10], alias[50:51] = b"\0\2", bytes([9])
    alias[51:60] = b"other.mp4"
    alias[130:134] = struct.pack(">HH", 1, 2)
    alias = bytes(alias) + long_path + posix + b"\xff\xff\0\0"
    reference = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    entries = struct.pack(">I4sII", 16 + len(reference), b"dref", 0, 1) + reference
    at = data.index(b"dref") - 4
    old = struct.unpack_from(">I", data, at)[0]
    data[at : at + old] = entries
    grown = len(entries) - old
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = data.index(box) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + grown)
    path.write_bytes(data)
    return path


def test_a_movie_may_not_have_its_frames_in_another_file(tmp_path, elsewhere, decoder):
    path = with_its_media_elsewhere(tmp_path / "a.mov", elsewhere / "other.mp4")
    with openings(elsewhere) as opened, pytest.raises(UnreadableVideoError):
        decoder.probe(str(path))  # although its own bytes hold the frames too
    assert opened == []


def huge_y4m(path):
    path.write_bytes(b"YUV4MPEG2 W100000 H100000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(5000))


def huge_mp4(path):
    data = bytearray(write_video(path, even(10), codec="mpeg4").read_bytes())
    struct.pack_into(">HH", data, data.index(b"mp4v") + 28, 65535, 65535)
    path.write_bytes(data)


def huge_avi(path):
    data = bytearray(write_video(path, even(10), codec="mjpeg", pix_fmt="yuvj420p").read_bytes())
    struct.pack_into("<II", data, data.index(b"strf") + 12, 100_000, 100_000)
    path.write_bytes(data)


def test_a_header_that_claims_ten_thousand_million_pixels_is_refused(tmp_path, decoder):
    huge_y4m(tmp_path / "a.y4m")
    with pytest.raises(UnreadableVideoError, match=r"cannot be opened|claims 100000 x"):
        decoder.probe(str(tmp_path / "a.y4m"))


@pytest.mark.parametrize("write", [huge_mp4, huge_avi])
def test_what_the_pictures_say_counts_when_the_header_claims_more(write, tmp_path, decoder):
    path = tmp_path / f"a.{write.__name__.removeprefix('huge_')}"
    write(path)
    # The width is as shown, and so follows the shape of pixels that the damaged header implies.
    assert decoder.probe(str(path)).height == SIZE[1]


@pytest.mark.parametrize(("fps", "samples"), [(5, 1), (10_000, 400), (0, 400)])
def test_ten_thousand_frames_a_second(fps, samples, tmp_path, decoder):
    path = write_video(tmp_path / "a.mp4", even(400, 1), tick=Fraction(1, 10_000), rate=10_000)
    found = decoder.probe(str(path))
    size = found.width, found.height
    *items, _ = decoder.read(str(path), 0, -1, found.zero_pts, size, Fraction(fps))
    step_us = 200_000 if fps == 5 else 100
    assert [item.pts_us for item in items] == [number * step_us for number in range(samples)]
