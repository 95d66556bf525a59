"""What the practice files hold, whole and in pieces."""

import pytest

from schemas.errors import UnreadableVideoError
from schemas.remarks import OTHER_PICTURES
from tests.helpers.needs import SHARED
from tests.helpers.reading import assert_same, read
from transforms.video import reading
from transforms.video.reading import probe
from transforms.video.records import LostSample

# name: whole frames, samples at 5 a second, lost ones, problems. All frame counts but two equal those
# of OpenCV: it stops at the damage in corrupt_28of50, and takes another stream of torchcodec_nasa_13013.
PRACTICE = {
    "odd/av1_10bit_hdr.mp4": (127, 22, 0, set()),
    "odd/carphone_crushed_7kB.mp4": (120, 20, 0, set()),
    "odd/corrupt_28of50.mp4": (37, 19, 6, {reading.NOT_DECODED}),
    "odd/face_base_h264.mp4": (30, 5, 0, set()),
    "odd/face_empty_track_faded.mp4": (30, 5, 0, set()),
    "odd/face_fragmented.mp4": (30, 5, 0, set()),
    "odd/face_missing_stsd.mp4": (30, 5, 0, set()),
    "odd/face_mkv_fps1000.mkv": (30, 5, 0, set()),
    "odd/face_mpeg2_3frames.ps": (3, 1, 0, set()),
    "odd/face_selfie_hevc_rot270_2tracks.mp4": (53, 9, 0, {OTHER_PICTURES}),
    "odd/face_sideways_pixels_no_rotation_flag.mp4": (30, 5, 0, set()),
    "odd/failing_audio.mp4": (280, 56, 0, set()),
    "odd/flv1_sorenson_vfr.flv": (25, 4, 0, set()),
    "odd/h263.3gp": (15, 5, 0, set()),
    "odd/hevc_10bit_hlg.mp4": (9, 2, 0, set()),
    "odd/hevc_dolbyvision_rot90.MOV": (4, 1, 0, set()),
    "odd/hevc_rot90_metadata_track.mp4": (3, 1, 0, set()),
    "odd/mpeg1_countzero_timejump.mpg": (19, 7, 0, set()),
    "odd/mpeg2_mxf_negative_time.mxf": (266, 54, 0, set()),
    "odd/mpeg4_xvid_style.avi": (96, 21, 0, set()),
    "odd/no_duration_negative_framecount.webm": (74, 25, 0, set()),
    "odd/one_fps_editlist.mp4": (12, 12, 0, set()),
    "odd/rot0_3frames.mov": (3, 1, 0, set()),
    "odd/rot180_3frames.mov": (3, 1, 0, set()),
    "odd/rot90_3frames.mov": (3, 1, 0, set()),
    "odd/single_frame.m4v": (1, 1, 0, set()),
    "odd/torchcodec_av1_video.mkv": (125, 25, 0, set()),
    "odd/torchcodec_h264_10bits.mp4": (30, 5, 0, set()),
    "odd/torchcodec_nasa_13013.mp4": (390, 65, 0, {OTHER_PICTURES}),
    "odd/truncated_claims_27142_frames.mkv": (37, 8, 0, {reading.CUT_SHORT}),
    "odd/vfr_slow_motion_gap325ms.mp4": (7, 3, 0, set()),
    "odd/vp8.webm": (24, 5, 0, set()),
    "odd/vp9.webm": (90, 15, 0, set()),
    "odd/vp9_alpha_transparent.webm": (150, 25, 0, set()),
    "odd/vp9_odd_dimensions_161x121.webm": (30, 5, 0, set()),
    "odd/vvc_h266.mp4": (120, 25, 0, set()),
    "people/appear_disappear_face_then_none_hevc.mov": (169, 32, 0, set()),
    "people/crowd_walking_royal_opera_1080p.mp4": (105, 21, 0, set()),
    "people/cuts_hamilton_white_house.mp4": (275, 46, 0, set()),
    "people/intel_classroom.gif": (45, 15, 0, set()),
    "people/intel_face-demographics-walking.gif": (35, 15, 0, set()),
    "people/no_face_animation_title.mp4": (95, 20, 0, set()),
    "people/one_woman_expression_changes_cuts_pexels.mp4": (472, 99, 0, set()),
    "people/one_woman_talking.mp4": (464, 78, 0, set()),
    "people/people_no_frontal_face_139s_10fps.mp4": (1394, 697, 0, set()),
    "people/qcif_carphone_moving_head.mp4": (120, 20, 0, set()),
    "people/single_neutral_to_smile.mp4": (72, 12, 0, set()),
    "people/woman_cooking_face_leaves_frame.mkv": (310, 52, 0, set()),
}

NO_CONTAINER = "The file cannot be opened as a video: Invalid data found when processing input."
UNCUT = ("odd/mpeg2_mxf_negative_time.mxf",)  # packets have other timestamps after seeking

SHARED_UNREADABLE = {
    "odd/audio_only.mp4": "The file holds no moving picture, only audio.",
    "odd/corrupt_does_not_open.mkv": NO_CONTAINER,
    "odd/face_malformed_free_box.mp4": NO_CONTAINER,
    "odd/header_only_262bytes.mp4": NO_CONTAINER,
}


# Large pictures or long: these take seconds.
SLOW = (
    "odd/av1_10bit_hdr.mp4",
    "odd/face_selfie_hevc_rot270_2tracks.mp4",
    "odd/vvc_h266.mp4",
    "people/appear_disappear_face_then_none_hevc.mov",
    "people/crowd_walking_royal_opera_1080p.mp4",
    "people/one_woman_expression_changes_cuts_pexels.mp4",
    "people/people_no_frontal_face_139s_10fps.mp4",
    "people/one_woman_talking.mp4",
    "people/woman_cooking_face_leaves_frame.mkv",
    "people/cuts_hamilton_white_house.mp4",
    "people/no_face_animation_title.mp4",
    "odd/torchcodec_nasa_13013.mp4",
    "odd/failing_audio.mp4",
    "odd/no_duration_negative_framecount.webm",
    "odd/vp9.webm",
    "odd/hevc_10bit_hlg.mp4",
    "odd/hevc_rot90_metadata_track.mp4",
)


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PRACTICE]
)
def test_practice_files_whole_and_in_pieces(name):
    path = SHARED / "videos" / name
    found = probe(str(path))
    items, summary = read(path, 5)
    lost = sum(isinstance(item, LostSample) for item in items)
    problems = {*found.problems, *summary.problems}
    assert (summary.frames_read, len(items) - lost, lost, problems) == PRACTICE[name]
    assert found.one_piece == (name in UNCUT)
    if not lost:
        assert found.frames == summary.frames_read
    if not found.one_piece:
        cuts = list(range(400_000, summary.last_pts_us, 400_000))
        if name not in SLOW:
            cuts = cuts[:2] + cuts[2:][-2:]
        pieces, total_of_pieces = read(path, 5, cuts)
        assert_same(pieces, items)
        assert total_of_pieces == summary


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", SHARED_UNREADABLE)
def test_practice_files_that_are_no_videos(name):
    with pytest.raises(UnreadableVideoError) as caught:
        probe(str(SHARED / "videos" / name))
    assert str(caught.value) == SHARED_UNREADABLE[name]
