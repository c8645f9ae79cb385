"""Video files, each of whose frames has a grey value that tells its number."""

import fractions
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from keras_iwm.command_line import main
from keras_iwm.datasets import ClipFolder, check_clip_folder
from keras_iwm.datasets.decode_video import frame_times, to_image
from keras_iwm.datasets.image_reader import ImageReader
from keras_iwm.datasets.read_clip import load_clip

av = pytest.importorskip("av")
NUM_FRAMES = 50
# From the number of a frame to its grey value, and to the nearest number.
GREY, STEP = 20, 4
KINDS = {
    "mp4": "libx264",
    "mkv": "libx264",
    "ts": "libx264",
    "webm": "libvpx-vp9",
    "avi": "mpeg4",
    "mov": "mpeg4",
    "mpg": "mpeg2video",
    "wmv": "msmpeg4",
}


def save_video(path, numbers, codec="libx264", size=(32, 16), times=None):
    """Writes a video with a key frame every 12 frames and some that lean on later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 12
        stream.bit_rate = 4_000_000
        stream.codec_context.max_b_frames = 0 if codec == "msmpeg4" else 2
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for position, number in enumerate(numbers):
            pixels = np.full((size[1], size[0], 3), GREY + STEP * number, "uint8")
            frame = av.VideoFrame.from_ndarray(pixels)
            if times is not None:
                frame.pts = int(times[position])
                frame.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frame_numbers_of(clip):
    return (clip.mean(axis=(-3, -2, -1)) - GREY) / STEP


def read(path, window, size=(8, 8), num_channels=3):
    return load_clip(path, window, size, num_channels, 255, 10**6)


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj422p", "rgb24", "rgba", "gray"]
)
def test_frames_become_the_images_that_pyav_makes_of_them(pixel_format):
    reformatter = av.video.reformatter.VideoReformatter()
    draws = np.random.default_rng(0)
    for size in ((38, 22), (64, 16)):  # rows with and without padding
        pixels = draws.integers(0, 256, (*size[::-1], 3), "uint8")
        frame = av.VideoFrame.from_ndarray(pixels).reformat(format=pixel_format)
        image = to_image(frame, reformatter)
        assert (image.mode, image.size) == ("RGB", size)
        np.testing.assert_array_equal(image, frame.to_image())


@pytest.mark.parametrize("suffix", KINDS)
def test_every_frame_of_every_kind_is_the_one_that_was_asked_for(tmp_path, suffix):
    path = tmp_path / f"video.{suffix}"
    save_video(path, range(NUM_FRAMES), KINDS[suffix])
    times, keys = frame_times(path, 10**6)
    assert len(times) == NUM_FRAMES
    assert len(keys) >= 4
    for first in range(0, NUM_FRAMES - 6, 5):
        window = ((first + 0.5) / (NUM_FRAMES - 6), 3, 3)
        clip = read(path, window)
        assert clip.shape == (3, 8, 8, 3)
        found = frame_numbers_of(clip)
        np.testing.assert_allclose(found, first + 3 * np.arange(3), atol=0.45)
    np.testing.assert_allclose(
        frame_numbers_of(read(path, (0, NUM_FRAMES, 1), (8, 8), 1)),
        np.arange(NUM_FRAMES),
        atol=0.45,
    )


def test_frames_are_counted_and_not_timed(tmp_path):
    path = tmp_path / "video.mkv"
    gaps = np.random.default_rng(0).integers(10, 200, NUM_FRAMES)
    save_video(path, range(NUM_FRAMES), times=np.cumsum(gaps))
    for first in (0, 17, 41):
        clip = read(path, (first / 42 + 1e-9, 5, 2))
        found = frame_numbers_of(clip)
        np.testing.assert_allclose(found, first + 2 * np.arange(5), atol=0.45)


def test_frames_are_fitted_as_images_are(tmp_path):
    # Left, middle and right thirds; the middle is what a square crop keeps.
    pixels = np.zeros((40, 120, 3), "uint8")
    pixels[:, 40:80] = (200, 30, 120)
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 120, 40, "yuv444p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    clip = read(path, (0.5, 2, 1), (20, 20))
    np.testing.assert_allclose(
        clip[:, 2:-2, 2:-2].reshape(-1, 3), np.tile([200, 30, 120], (512, 1)), atol=6
    )
    assert read(path, (0.5, 2, 1), (20, 20), 4)[..., 3].min() == 255
    with pytest.raises(ValueError, match="a video has not 2 channels"):
        read(path, (0.5, 2, 1), (20, 20), 2)


def test_a_camera_that_was_turned_gives_upright_frames(tmp_path):
    path = tmp_path / "video.mp4"
    pixels = np.full((16, 32, 3), 30, "uint8")
    pixels[:, :16] = 220  # the left half, which is on top once it is turned clockwise
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    # The matrix of the track, in place of the unit matrix: a quarter turn clockwise.
    content = path.read_bytes()
    one, end = 0x10000, 0x40000000
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, end)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, end)
    place = content.index(upright, content.index(b"tkhd"))
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    clip = read(path, (0, 1, 1), (32, 16))
    assert clip[0, :12].min() > 200
    assert clip[0, 20:].max() < 50


def test_damaged_videos_are_named(tmp_path):
    folder = tmp_path / "clips"
    for number in range(45):
        save_video(folder / f"{number:02}.mp4", [number] * 8)
    whole = (folder / "00.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(b"")
    (folder / "b.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "c.mp4").write_text("#EXTM3U\n#EXTINF:10,\n00.mp4\n#EXT-X-ENDLIST\n")
    (folder / "d.webm").write_text("ffconcat version 1.0\nfile 00.mp4\n")
    save_video(folder / "e.mp4", range(5))
    dataset = ClipFolder(folder, 8, 6, batch_size=50, seed=1)
    with pytest.warns(UserWarning, match="5 of 50 clips"):
        (clips,) = dataset[0]
    numbers = frame_numbers_of(clips)
    np.testing.assert_allclose(numbers, np.round(numbers), atol=0.45)
    assert set(np.round(numbers[:, 0]).astype(int)) == set(range(45))
    reasons = {os.path.basename(path)[0]: why for path, why in dataset.skipped.items()}
    assert set(reasons) == set("abcde")
    assert "it is empty" in reasons["a"]
    assert "it has 5 frames" in reasons["e"]
    again = ClipFolder(folder, 8, 6, batch_size=50, seed=1, num_processes=1)
    np.testing.assert_array_equal(again[0][0], clips)


def test_a_video_that_is_cut_off_behind_its_header_is_bad(tmp_path):
    path = tmp_path / "video.mp4"
    draws = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for _ in range(20):
            noise = draws.integers(0, 256, (16, 32, 3)).astype("uint8")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise)))
        container.mux(stream.encode())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ValueError, match=r"it breaks off: it has \d+ of 20 frames"):
        read(path, (0, 4, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_frames_of_too_many_pixels_take_no_memory(tmp_path):
    save_video(tmp_path / "good.mkv", range(3))
    save_video(tmp_path / "large.mkv", range(1), "mpeg4", (4096, 4096))
    reader = ImageReader()

    def most(name, max_pixels):
        window = [(0, 1, 1)]
        _, (message,), _ = reader.read(
            [tmp_path / name], (8, 8), 3, 255, max_pixels, None, window
        )
        with open(f"/proc/{reader._process.pid}/status") as lines:
            line = next(line for line in lines if line.startswith("VmHWM"))
        return message, int(line.split()[1]) / 1024

    message, before = most("good.mkv", 10**6)
    assert message is None
    message, after = most("large.mkv", 10**6)
    assert "more pixels than max_pixels=1000000" in message
    assert after < before + 20
    message, after = most("large.mkv", 10**8)
    assert message is None
    assert after > before + 20


def test_the_report_counts_what_is_there(tmp_path, capsys):
    folder = tmp_path / "clips"
    for number, (suffix, codec) in enumerate([("mp4", "libx264"), ("avi", "mpeg4")]):
        save_video(folder / "a" / f"{number}.{suffix}", range(9 + number), codec)
    for number in range(6):
        frame = Image.fromarray(np.full((12, 14, 3), number, "uint8"))
        (folder / "b" / "two").mkdir(parents=True, exist_ok=True)
        frame.save(folder / "b" / "two" / f"{number}.png")
    (folder / "b" / "bad.mkv").write_bytes(b"nothing")
    report = check_clip_folder(folder, 4, 2, decode_pixels=True)
    assert report["num_clips"] == 4
    assert report["classes"] == {"a": 2, "b": 2}
    assert report["suffixes"] == {".mp4": 1, ".avi": 1, "": 1, ".mkv": 1}
    assert report["codecs"] == {"h264": 1, "mpeg4": 1}
    assert report["frame_rates"] == {25.0: 2}
    assert report["sizes"] == {(32, 16): 2}
    assert report["shortest"] == (9, str(folder / "a" / "0.mp4"))
    assert report["longest"] == (10, str(folder / "a" / "1.avi"))
    assert set(report["bad"]) == {
        str(folder / "b" / "bad.mkv"),
        str(folder / "b" / "two"),
    }
    assert main(["check", str(folder), "--num-frames", "3"]) == 1
    printed = capsys.readouterr().out
    assert "4 clips in 2 classes\n" in printed
    assert "codecs: h264: 1, mpeg4: 1, PNG: 1\n" in printed
    assert f"shortest: 6 frames {folder}/b/two\n" in printed
    assert "1 bad clips\n" in printed
    (folder / "b" / "bad.mkv").unlink()
    assert main(["check", str(folder), "--num-frames", "3"]) == 0


def test_without_pyav_videos_are_refused_and_frames_are_not(tmp_path, monkeypatch):
    save_video(tmp_path / "clips" / "a.mp4", range(3))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="`pip install av`"):
        ClipFolder(tmp_path / "clips", 8, 2, batch_size=1)
