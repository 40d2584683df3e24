"""Image files as people have them: every size, mode and defect."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.files.image_files import MAX_CHOSEN_SIDE, ImageReader, choose_image_reader, png_bytes

COLOUR = ImageReader((12, 8), is_grey=False)
GREY = ImageReader((12, 8), is_grey=True)


def pixels(colours: int | None = 3, width: int = 12, height: int = 8) -> np.ndarray:
    shape = (height, width) if colours is None else (height, width, colours)
    return np.random.default_rng(5).integers(0, 256, size=shape, dtype=np.uint8)


@pytest.fixture
def write(tmp_path):
    def write_one(name="a.png", values=None, **kwargs):
        Image.fromarray(pixels() if values is None else values).save(tmp_path / name, **kwargs)
        return tmp_path / name

    return write_one


def test_read_colour_and_grey_give_their_values_and_nothing_mended(write):
    picture, mended = COLOUR.read(write())
    assert (picture.dtype, mended) == (np.uint8, [])
    assert np.array_equal(picture, pixels())
    picture, mended = GREY.read(write(values=pixels(None)))
    assert mended == []
    assert np.array_equal(picture, pixels(None))


def test_read_jpg_is_close_to_its_values(write):
    values = np.full((8, 12, 3), 100, dtype=np.uint8)
    values[:, 6:] = 180
    picture, mended = COLOUR.read(write("a.jpg", values, quality=95))
    assert mended == []
    assert np.abs(picture.astype(int) - values).max() < 20


def test_read_grey_file_among_coloured_is_repeated_over_the_colours(write):
    picture, mended = COLOUR.read(write(values=pixels(None)))
    assert mended == ["grey among coloured files"]
    assert np.array_equal(picture, np.repeat(pixels(None)[:, :, None], 3, axis=2))


def test_read_other_size_is_resized_and_marked(write):
    picture, mended = COLOUR.read(write(values=np.full((30, 40, 3), 77, dtype=np.uint8)))
    assert picture.shape == (8, 12, 3)
    assert (picture == 77).all()
    assert mended == ["of another size, resized", "one colour only"]


def test_read_transparent_file_loses_only_its_transparency(write):
    values = pixels(4)
    picture, mended = COLOUR.read(write(values=values))
    assert mended == ["transparency dropped"]
    assert np.array_equal(picture, values[:, :, :3])


def test_read_sixteen_bit_grey_is_scaled_not_clipped(write):
    values = np.linspace(0, 65535, 96).reshape(8, 12).astype(np.uint16)
    picture, mended = GREY.read(write(values=values))
    assert mended == ["16-bit, made 8-bit"]
    assert np.array_equal(picture, np.round(values / 257))


def test_read_photo_lying_on_its_side_is_turned_upright(write):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    values = np.zeros((12, 8, 3), dtype=np.uint8)
    values[:6] = 255
    path = write("a.jpg", values, exif=exif, quality=95)
    picture, mended = COLOUR.read(path)
    assert mended == ["turned upright"]
    assert picture[:, :5].mean() < 20  # what was at the top is at the right
    assert picture[:, 7:].mean() > 235
    assert choose_image_reader([path]).size == (12, 8)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[: len(content) * 3 // 4], "damaged or truncated"),
        (lambda content: b"no picture at all, only text", "not a readable"),
    ],
)
def test_read_damaged_file_gives_the_reason(write, name, spoil, reason):
    path = write(name, pixels(width=40, height=40))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InvalidInputError, match=reason):
        COLOUR.read(path)


def test_read_other_format_under_a_png_name_is_read_only_if_it_is_one_that_is_read(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.png", format="TIFF")
    assert np.array_equal(COLOUR.read(tmp_path / "a.png")[0], pixels())
    Image.fromarray(pixels()).save(tmp_path / "a.png", format="PPM")
    with pytest.raises(InvalidInputError, match="not a readable"):
        COLOUR.read(tmp_path / "a.png")


def test_read_decompression_bomb_is_refused(write, monkeypatch):
    path = write(values=pixels(width=100, height=100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    with pytest.raises(InvalidInputError, match="too large"):
        COLOUR.read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with pytest.raises(InvalidInputError, match="too large"):
        COLOUR.read(path)


def test_choose_takes_most_common_size_and_stays_grey_when_all_are(write):
    paths = [write(f"{i}.png", pixels(None, *size)) for i, size in enumerate([(12, 8), (12, 8), (9, 9)])]
    reader = choose_image_reader(paths)
    assert (reader.size, reader.is_grey, reader.shape) == ((12, 8), True, (8, 12))
    assert "2 of the 3 files" in reader.notes[0]


def test_choose_one_coloured_file_makes_all_coloured_and_is_the_odd_one(write):
    paths = [write(f"{i}.png", pixels(None)) for i in range(3)] + [write("c.png")]
    reader = choose_image_reader(paths)
    assert reader.shape == (8, 12, 3)
    assert [reader.read(path)[1] for path in paths] == [[], [], [], ["coloured among grey files"]]


def test_choose_large_pictures_are_reduced_without_being_marked(write):
    path = write(values=pixels(None, 512, 256))
    reader = choose_image_reader([path])
    assert reader.size == (MAX_CHOSEN_SIDE, MAX_CHOSEN_SIDE // 2)
    assert reader.read(path)[1] == []


def test_choose_given_size_is_used(write):
    assert choose_image_reader([write()], size=(6, 5)).shape == (5, 6, 3)


@pytest.mark.parametrize("size", [(3, 8), (8, 2000), (8, 8, 8), (8.0, 8)])
def test_choose_bad_size_is_refused(write, size):
    with pytest.raises(InvalidInputError, match="a width and a height"):
        choose_image_reader([write()], size)


def test_choose_no_readable_file_names_a_reason(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"None of the 1 images can be read.*empty"):
        choose_image_reader([tmp_path / "a.png"])


def test_png_bytes_hold_the_picture_and_shrink_large_ones():
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(pixels())))), pixels())
    assert Image.open(io.BytesIO(png_bytes(pixels(width=640, height=320)))).size == (160, 80)


def test_read_without_pillow_says_what_to_install(write, monkeypatch):
    path = write()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingPackageError, match=r'pip install "art-plugins\[report\]"'):
        COLOUR.read(path)


def test_choose_twelve_bit_grey_in_sixteen_bit_files_keeps_its_levels(write):
    """All files have one scale, so that a dark picture stays darker than a bright one."""
    levels = np.linspace(0, 4_095, 96).reshape(8, 12).astype(np.uint16)
    paths = [write(f"{i}.png", levels) for i in range(20)] + [write("dark.png", levels // 2)]
    reader = choose_image_reader(paths)
    assert reader.depth == 12
    assert any("only 12 bits" in note and "4,095 is shown as white" in note for note in reader.notes)
    picture, mended = reader.read(paths[0])
    assert mended == ["16-bit, made 8-bit"]
    assert np.array_equal(picture, np.round(levels * (255 / 4_095)))
    assert reader.read(paths[-1])[0].max() == 127


def test_choose_one_file_brighter_than_the_depth_of_the_others_is_clipped_and_said(write):
    levels = np.linspace(0, 4_095, 96).reshape(8, 12).astype(np.uint16)
    paths = [write(f"{i}.png", levels) for i in range(30)]
    levels[0, 0] = 65_535
    paths.append(write("hot.png", levels))
    reader = choose_image_reader(paths)
    assert reader.depth == 12
    picture, mended = reader.read(paths[-1])
    assert mended == ["16-bit, made 8-bit", "brighter than the depth of the others, clipped"]
    assert picture[0, 0] == 255


def test_choose_truly_sixteen_bit_files_are_scaled_as_such(write):
    reader = choose_image_reader([write(values=np.linspace(0, 60_000, 96).reshape(8, 12).astype(np.uint16))])
    assert reader.depth == 16
    assert not any(" bits" in note for note in reader.notes)


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """By hand, since Pillow writes no 16-bit colours: (H, W, 2) grey and alpha, (H, W, 3) colours, (H, W, 4) with alpha."""
    kind = {2: 4, 3: 2, 4: 6}[values.shape[2]]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    chunks = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_choose_twelve_bit_colours_in_sixteen_bit_files_keep_their_levels(tmp_path, channels):
    """Pillow alone gives the high byte: 16 levels, where there are 4,096."""
    values = np.random.default_rng(6).integers(0, 4_096, size=(8, 12, channels)).astype(np.uint16)
    values[0, 0] = 4_095
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(values))
    reader = choose_image_reader([tmp_path / "a.png"])
    assert reader.depth == 12
    picture, mended = reader.read(tmp_path / "a.png")
    colours = values[..., :3] if channels > 2 else values[..., 0]
    assert np.array_equal(picture, np.round(colours * (255 / 4_095)))
    assert mended == [*([] if channels == 3 else ["transparency dropped"]), "16-bit, made 8-bit"]


def test_read_truncated_sixteen_bit_colours_are_that_files_error(tmp_path):
    values = np.random.default_rng(6).integers(0, 4_096, size=(64, 64, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(values)[:3_000])
    with pytest.raises(InvalidInputError, match="damaged or truncated"):
        COLOUR.read(tmp_path / "a.png")
