"""Decoding of every kind of photo that people have, made here by Pillow."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mobilenas_tf.training.photos import (
    decode_all,
    decode_square,
    decode_whole,
    read_photo,
    read_photo_size,
)

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def red_over_blue(size=16):
    image = Image.new("RGB", (size, size), RED)
    image.paste(BLUE, (0, size // 2, size, size))
    return image


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_common_formats_decode_to_their_colours(file_format, options):
    image = decode_square(encode(red_over_blue(), file_format, **options), 16)
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[2, 2], RED, atol=4)
    np.testing.assert_allclose(image[13, 13], BLUE, atol=4)


@pytest.mark.parametrize(
    ("orientation", "red_side"),
    # EXIF 2.32, tag 0x112: where the stored top row is on the displayed photo.
    [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")],
)
def test_the_exif_orientation_is_applied(orientation, red_side):
    exif = Image.Exif()
    exif[0x112] = orientation
    image = decode_square(encode(red_over_blue(), "JPEG", exif=exif, quality=95), 16)
    sides = {
        "top": image[1, 8],
        "bottom": image[14, 8],
        "left": image[8, 1],
        "right": image[8, 14],
    }
    reddest = max(sides, key=lambda side: int(sides[side][0]) - int(sides[side][2]))
    assert reddest == red_side


def test_broken_exif_does_not_hide_the_photo():
    data = encode(red_over_blue(), "JPEG", quality=95, exif=b"Exif\0\0 no such thing")
    np.testing.assert_allclose(decode_square(data, 16)[2, 2], RED, atol=4)


def test_cmyk_is_converted():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image = decode_square(encode(cmyk, "JPEG", quality=95), 8)
    np.testing.assert_allclose(image, np.broadcast_to(RED, (8, 8, 3)), atol=6)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(file_format):
    # 65535 / 257 = 255 and 25700 / 257 = 100.
    values = np.full((8, 8), 25700, np.uint16)
    values[:4] = 65535
    image = decode_square(encode(Image.fromarray(values), file_format), 8)
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[7, 7].tolist() == [100, 100, 100]


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 8, 4))
    image = decode_square(encode(clear, "PNG"), 8)
    assert image[0, 0].tolist() == list(RED)
    assert image[7, 7].tolist() == list(WHITE)


def test_a_palette_with_transparency_is_laid_over_white():
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    palette.paste(1, (0, 4, 8, 8))
    image = decode_square(encode(palette, "PNG", transparency=0), 8)
    assert image[0, 0].tolist() == list(WHITE)
    assert image[7, 7].tolist() == list(BLUE)


def test_one_channel_becomes_three_equal_ones():
    image = decode_square(encode(Image.new("L", (8, 8), 77), "PNG"), 8)
    assert np.all(image == 77) and image.shape == (8, 8, 3)


def test_an_animation_gives_its_first_image():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_square(data, 8)[0, 0].tolist() == list(RED)


def test_the_central_square_is_kept():
    wide = Image.new("RGB", (40, 8), BLUE)
    wide.paste(RED, (16, 0, 24, 8))
    image = decode_square(encode(wide, "PNG"), 8)
    assert np.all(image == RED)


def test_the_crop_fraction_cuts_the_border_off():
    framed = Image.new("RGB", (16, 16), BLUE)
    framed.paste(RED, (4, 4, 12, 12))
    image = decode_square(encode(framed, "PNG"), 8, crop_fraction=0.5)
    assert np.all(image == RED)


def test_an_image_of_the_right_size_is_not_resampled():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = decode_square(encode(Image.fromarray(pixels), "PNG"), 8)
    np.testing.assert_array_equal(image, pixels)


def test_reducing_averages_instead_of_picking_pixels():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    image = decode_square(encode(Image.fromarray(stripes), "PNG"), 4)
    np.testing.assert_allclose(image[1:3, 1:3], 100, atol=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_tiny_photos_are_enlarged(size):
    image = decode_square(encode(Image.new("RGB", size, RED), "PNG"), 8)
    assert np.all(image == RED)


def png_with_bad_dimensions():
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    length, checksum = (
        struct.pack(">I", len(header)),
        struct.pack(">I", zlib.crc32(chunk)),
    )
    return b"\x89PNG\r\n\x1a\n" + length + chunk + checksum


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is no photo",
        encode(red_over_blue(64), "JPEG")[:-400],
        encode(red_over_blue(64), "PNG")[:60],
        encode(red_over_blue(64), "WEBP")[:50],
        encode(red_over_blue(64), "TIFF")[:100],
        encode(red_over_blue(64), "GIF")[:20],
        png_with_bad_dimensions(),
        encode(Image.new("F", (8, 8), 0.5), "TIFF"),
        encode(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"),
    ],
)
@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")  # by Pillow
def test_a_broken_photo_is_an_error_that_says_why(data):
    with pytest.raises(ValueError, match="The photo cannot be decoded: ."):
        decode_square(data, 8)


def test_decode_all_fills_the_array_and_names_the_failures():
    files = [encode(Image.new("L", (4, 4), i), "PNG") for i in range(70)]
    files[33] = b"broken"
    out = np.zeros((70, 4, 4, 3), np.uint8)
    reasons = decode_all(
        files.__getitem__, 70, lambda data: decode_square(data, 4), out
    )
    assert list(reasons) == [33] and "cannot be decoded" in reasons[33]
    expected = np.where(np.arange(70) == 33, 0, np.arange(70))
    np.testing.assert_array_equal(out[:, 0, 0, 0], expected)


def rotated_photo():
    """30 rows of 40 pixels, the left half red, to be shown turned to the right."""
    image = Image.new("RGB", (40, 30), BLUE)
    image.paste(RED, (0, 0, 20, 30))
    exif = Image.Exif()
    exif[0x112] = 6
    return encode(image, "JPEG", exif=exif, quality=95)


def test_a_whole_photo_keeps_its_size_and_its_border():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    data = encode(Image.fromarray(pixels), "PNG")
    np.testing.assert_array_equal(decode_whole(data), pixels)
    assert read_photo_size(data) == (6, 9)


def test_a_whole_photo_is_stretched():
    wide = Image.new("RGB", (40, 8), BLUE)
    wide.paste(RED, (0, 0, 20, 8))
    image = decode_whole(encode(wide, "PNG"), 8)
    assert image.shape == (8, 8, 3)
    assert np.all(image[:, :3] == RED) and np.all(image[:, 5:] == BLUE)


def test_a_rotated_photo_is_as_high_as_it_is_wide_on_the_sensor():
    # Orientation 6: the stored left side is the displayed top.
    assert read_photo_size(rotated_photo()) == (40, 30)
    image = decode_whole(rotated_photo(), annotated_size=(40, 30))
    assert image.shape == (40, 30, 3)
    np.testing.assert_allclose(image[5, 15], RED, atol=4)
    np.testing.assert_allclose(image[35, 15], BLUE, atol=4)


def test_a_photo_annotated_on_the_sensor_is_not_turned():
    image = decode_whole(rotated_photo(), annotated_size=(30, 40))
    assert image.shape == (30, 40, 3)
    np.testing.assert_allclose(image[15, 5], RED, atol=4)


def test_a_photo_of_another_size_than_annotated_is_an_error():
    with pytest.raises(ValueError, match="has 30 x 40 pixels.*speak of 30 x 41"):
        decode_whole(rotated_photo(), annotated_size=(30, 41))


def test_the_size_of_no_photo_is_an_error():
    with pytest.raises(ValueError, match="cannot be decoded: it is no image"):
        read_photo_size(b"this is no photo")


def with_png_size(data, width, height):
    """Returns a PNG whose header tells of another size, with the checksum that fits."""
    header = data[12:16] + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (8_300, 8_100, "it has 8,100 x 8,300 pixels, more than 67,108,864"),
        (30_000, 40_000, "exceeds limit of"),
        (2**31 - 1, 2**31 - 1, "exceeds limit of"),
        (0, 16, "it is no image"),
    ],
)
def test_a_header_of_gigapixels_takes_no_memory(width, height, words):
    data = with_png_size(encode(red_over_blue(), "PNG"), width, height)
    before = peak_mb()
    for decode in (lambda: decode_square(data, 16), lambda: decode_whole(data)):
        with pytest.raises(ValueError, match=words):
            decode()
    assert peak_mb() - before < 50


def test_a_header_that_tells_of_more_than_there_is_is_refused():
    data = with_png_size(encode(red_over_blue(), "PNG"), 64, 64)
    with pytest.raises(ValueError, match="The photo cannot be decoded: "):
        decode_whole(data)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size():
    # 72 million pixels, more than are decoded of other formats.
    data = encode(Image.new("L", (9_000, 8_000), 77), "JPEG")
    before = peak_mb()
    assert decode_square(data, 16)[8, 8].tolist() == [77, 77, 77]
    assert peak_mb() - before < 50
    with pytest.raises(ValueError, match="it has 8,000 x 9,000 pixels, more than"):
        decode_whole(data)


def test_a_turned_tiff_has_the_size_that_it_is_decoded_to():
    exif = Image.Exif()
    exif[0x112] = 6
    for file_format in ("TIFF", "JPEG"):
        data = encode(Image.new("RGB", (30, 20)), file_format, exif=exif)
        assert read_photo_size(data) == (30, 20)
        assert decode_whole(data).shape == (30, 20, 3)
        assert decode_whole(data, annotated_size=(30, 20)).shape == (30, 20, 3)


def test_a_file_larger_than_any_photo_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mobilenas_tf.training.photos.MAX_FILE_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(10))
    (tmp_path / "b.jpg").write_bytes(bytes(11))
    assert read_photo(tmp_path / "a.jpg") == bytes(10)
    with pytest.raises(ValueError, match="its file has more than 10 bytes"):
        read_photo(tmp_path / "b.jpg")
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    reasons = decode_all(
        lambda index: read_photo(paths[index]),
        2,
        lambda data: np.zeros((1, 1, 3), np.uint8),
        None,
    )
    assert reasons == {1: "its file has more than 10 bytes"}
