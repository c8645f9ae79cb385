import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_iwm.datasets import ImageFolder, load_images, load_segmentation
from keras_iwm.datasets.read_files import read_files
from keras_iwm.datasets.read_image import fit_image, load_image

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)
# By number of channels: grey, grey with alpha, RGB, RGBA.
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def noise(shape, dtype):
    """Values that fill the range of a dtype."""
    if np.dtype(dtype).kind == "f":
        return RNG.normal(0, 1000, shape).astype(dtype)
    limits, native = np.iinfo(dtype), np.dtype(dtype).newbyteorder("=")
    values = RNG.integers(limits.min, limits.max, shape, native, endpoint=True)
    return values.astype(dtype)


def save_deep_png(path, pixels):
    """Writes a PNG of 16 bits in each of 1 to 4 channels, rows stored as differences.

    Pillow writes those with one channel only.
    """
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + 2 * channels * width), "uint8")
    rows[:, 0] = 1  # each byte comes as its difference to the pixel on the left
    content = pixels.astype(">u2").reshape(height, -1).view("uint8")
    rows[:, 1:] = content
    rows[:, 1 + 2 * channels :] -= content[:, : -2 * channels]

    def chunk(name, data):
        data = name + data
        ends = struct.pack(">I", len(data) - 4), struct.pack(">I", zlib.crc32(data))
        return ends[0] + data + ends[1]

    header = width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def save(path, pixels):
    """Writes `(height, width, channels)` as the suffix says, keeping every bit."""
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".png" and pixels.dtype == np.uint16:
        save_deep_png(path, pixels)
    elif path.suffix == ".png":
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
            path
        )
    else:
        planes = {"planarconfig": "contig"} if pixels.shape[-1] > 1 else {}
        tifffile.imwrite(path, pixels, photometric="minisblack", **planes)


@pytest.mark.parametrize(
    ("suffix", "dtype", "num_channels"),
    [
        *((".png", dtype, c) for dtype in ("uint8", "uint16") for c in (1, 2, 3, 4)),
        *((".tif", "uint8", c) for c in (1, 2, 3, 4, 12)),
        *((".tif", "uint16", c) for c in (1, 2, 3, 4, 12)),
        *((".TIFF", dtype, 1) for dtype in ("int8", "int16", "uint32", "float16")),
        *((".tiff", dtype, c) for dtype in ("float32", "float64") for c in (1, 3, 12)),
        *((".npy", dtype, 12) for dtype in ("uint8", "uint16", "int16", "float32")),
        (".npy", "int64", 1),
        (".npy", ">u2", 2),
    ],
)  # fmt: skip
def test_no_bit_is_lost(tmp_path, suffix, dtype, num_channels):
    pixels = noise((3, 9, 7, num_channels), dtype)
    for number, image in enumerate(pixels):
        save(tmp_path / f"{number}{suffix}", image)
    arguments = {"batch_size": 3, "shuffle": False, "num_channels": num_channels}
    (images,) = ImageFolder(tmp_path, (9, 7), **arguments)[0]
    assert images.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(images, pixels)
    np.testing.assert_array_equal(
        load_images(tmp_path, (9, 7), num_channels=num_channels)[0], pixels
    )


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_bands_may_lie_in_planes_or_pages(tmp_path, byteorder):
    bands = noise((12, 9, 7), "uint16")
    expected = np.moveaxis(bands, 0, -1)
    options = {"byteorder": byteorder, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "pages.tif", bands, **options)
    tifffile.imwrite(tmp_path / "planes.tif", bands, planarconfig="separate", **options)
    tifffile.imwrite(tmp_path / "zip.tif", bands, compression="zlib", **options)
    for name in ("pages", "planes", "zip"):
        image = load_image(tmp_path / f"{name}.tif", 12)
        np.testing.assert_array_equal(image, expected)
    tifffile.imwrite(tmp_path / "grey.tif", bands[0], **options)
    image = load_image(tmp_path / "grey.tif", 1)
    np.testing.assert_array_equal(image[..., 0], bands[0])
    assert image.dtype == np.uint16
    assert image.dtype.isnative


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "1"])
@pytest.mark.parametrize("num_channels", [1, 3, 4])
def test_pictures_of_8_bits_become_grey_rgb_or_rgba(tmp_path, mode, num_channels):
    pixels = noise((9, 7, 4), "uint8")
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", num_channels)
    expected = picture.convert({1: "L", 3: "RGB", 4: "RGBA"}[num_channels])
    if mode in ("P", "RGBA", "LA") and num_channels < 4:
        # What is transparent shows white: NumPy's own blend, to one step of rounding.
        alpha = np.asarray(picture.convert("RGBA"))[..., 3:] / 255
        colours = np.asarray(expected).reshape(9, 7, -1)
        expected = np.squeeze(colours * alpha + 255 * (1 - alpha))
        np.testing.assert_allclose(np.asarray(image), expected, atol=1)
        return
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_deep_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise((9, 7), "uint16")
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(pixels, -1)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", 1)[..., 0], expected)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float16", "float32"])
def test_resizing_keeps_the_fine_steps(dtype):
    """Four rows in one: the mean, to the last bit that the dtype has."""
    pixels = RNG.integers(0, 2000, (8, 8, 5)).astype(dtype) + np.dtype(dtype).type(7)
    fitted = fit_image(pixels, (4, 4))
    assert fitted.dtype == dtype
    for channel in range(5):
        band = Image.fromarray(pixels[..., channel].astype("float32"))
        expected = np.asarray(ImageOps.fit(band, (4, 4), Image.Resampling.BILINEAR))
        if np.dtype(dtype).kind == "i" or dtype == "uint16":
            expected = np.round(expected)
        np.testing.assert_array_equal(fitted[..., channel], expected.astype(dtype))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32"])
def test_resizing_stays_at_the_ends_of_the_range(dtype):
    limits = np.iinfo(dtype)
    for value in (limits.min, limits.max):
        fitted = fit_image(np.full((9, 7, 2), value, dtype), (4, 4))
        np.testing.assert_array_equal(fitted, np.full((4, 4, 2), value, dtype))


def test_arrays_of_8_bits_are_resized_as_pictures_are():
    pixels = noise((57, 83, 3), "uint8")
    picture = fit_image(Image.fromarray(pixels), (31, 20))
    np.testing.assert_array_equal(fit_image(pixels, (31, 20)), np.asarray(picture))


def test_channels_do_not_reach_each_other(tmp_path):
    """Pillow's own resize of RGBA gives black where the fourth channel is 0."""
    pixels = noise((8, 8, 4), "uint8")
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (image,), _, dtype = read_files([tmp_path / "a.png"], (4, 4), 4)
    assert dtype == "uint8"
    expected = fit_image(Image.fromarray(pixels[..., :3].copy()), (4, 4))
    np.testing.assert_array_equal(np.asarray(image)[..., :3], np.asarray(expected))


@pytest.mark.parametrize(
    ("suffix", "dtype", "num_channels"),
    [(".png", "uint16", 1), (".png", "uint16", 3), (".tif", "float32", 12),
     (".png", "uint8", 1), (".png", "uint8", 4), (".npy", "float16", 3)],
)  # fmt: skip
def test_processes_read_as_threads_do(tmp_path, suffix, dtype, num_channels):
    for number in range(6):
        save(tmp_path / f"{number}{suffix}", noise((20, 24, num_channels), dtype))
    threads, processes = (
        ImageFolder(tmp_path, 8, batch_size=3, num_channels=num_channels, **workers)
        for workers in ({"num_threads": 2}, {"num_processes": 2})
    )
    for index in (0, 1):
        wanted, read = threads[index][0], processes[index][0]
        assert read.shape == (3, 8, 8, num_channels)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, wanted)


@pytest.mark.parametrize("workers", [{}, {"num_processes": 1}])
def test_files_of_two_dtypes_are_named(tmp_path, workers):
    save(tmp_path / "a.npy", noise((8, 8, 1), "uint16"))
    save(tmp_path / "b.npy", noise((8, 8, 1), "uint16"))
    save(tmp_path / "c.png", noise((8, 8, 1), "uint8"))
    message = r"c\.png holds uint8, and those before it uint16"
    for batch_size in (1, 3):  # found in another batch, and in the same
        dataset = ImageFolder(
            *(tmp_path, 8, batch_size),
            shuffle=False,
            num_channels=1,
            bad_files="raise",
            **workers,
        )
        with pytest.raises(ValueError, match=message):
            [dataset[index] for index in range(len(dataset))]
    with pytest.raises(ValueError, match=message):
        dataset.load()


def test_segmentation_images_keep_their_bits(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    pixels = noise((2, 8, 8, 12), "uint16")
    for number, image in enumerate(pixels):
        save(tmp_path / "images" / f"{number}.tif", image)
        save(tmp_path / "masks" / f"{number}.png", noise((8, 8, 1), "uint8"))
    folders = tmp_path / "images", tmp_path / "masks"
    images, masks = load_segmentation(*folders, np.int64(8), num_channels=12)
    np.testing.assert_array_equal(images, pixels)
    assert masks.shape == (2, 8, 8)
    (tmp_path / "images" / "1.tif").unlink()
    np.save(tmp_path / "images" / "1.npy", pixels[1].astype("float32"))
    with pytest.raises(ValueError, match=r"1\.npy holds float32, and .* uint16"):
        load_segmentation(*folders, 8, num_channels=12)


@pytest.mark.parametrize("workers", [{}, {"num_processes": 1}])
def test_what_does_not_fit_is_explained(tmp_path, workers):
    def read(name, num_channels=3):
        for path in tmp_path.iterdir():
            if path.name != name:
                path.unlink()
        ImageFolder(tmp_path, 8, 1, num_channels=num_channels, **workers)[0]

    save(tmp_path / "a.png", noise((8, 8, 1), "uint16"))
    with pytest.raises(ValueError, match=r"a\.png must have 3.*Pass num_channels=1"):
        read("a.png")
    save(tmp_path / "b.png", noise((8, 8, 3), "uint8"))
    with pytest.raises(ValueError, match=r"b\.png must have 12 .*Pass num_channels=3"):
        read("b.png", 12)
    np.save(tmp_path / "c.npy", np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"c\.npy must hold.*\(2, 8, 8, 3\)"):
        read("c.npy")
    np.save(tmp_path / "d.npy", np.zeros((8, 8, 3), bool))
    with pytest.raises(ValueError, match=r"d\.npy must hold.*bool"):
        read("d.npy")
    np.save(tmp_path / "e.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"e\.npy could not be read"):
        read("e.npy")
    (tmp_path / "f.tif").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"f\.tif could not be read"):
        read("f.tif")
    tifffile.imwrite(
        tmp_path / "g.tif", noise((2, 8, 8, 5), "uint8"), photometric="minisblack",
        planarconfig="contig",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"g\.tif could not be read \(it has axes"):
        read("g.tif", 5)


def test_a_band_beside_rgb_is_kept(tmp_path):
    """Pillow drops a fourth band that is not called alpha, such as infrared."""
    pixels = noise((9, 7, 4), "uint8")
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"]
    )
    np.testing.assert_array_equal(load_image(tmp_path / "a.tif", 4), pixels)
    with pytest.raises(ValueError, match="Pass num_channels=4"):
        load_image(tmp_path / "a.tif", 3)
    Image.fromarray(pixels).save(tmp_path / "b.tif")
    rgb = np.asarray(load_image(tmp_path / "b.tif", 3, background=0))
    alpha = pixels[..., 3:] / 255
    np.testing.assert_allclose(rgb, pixels[..., :3] * alpha, atol=1)
