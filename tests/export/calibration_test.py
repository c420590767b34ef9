import numpy as np
import pytest

from export.calibration import make_representative_dataset


def _numbered_images(num_images: int) -> np.ndarray:
    """Image i is filled with i / 100."""
    values = np.arange(num_images, dtype=np.float32) / 100
    return np.broadcast_to(values[:, None, None, None], (num_images, 4, 4, 3)).copy()


def test_images_are_spread_evenly_over_those_given():
    images = _numbered_images(9)
    yielded = [entry["image"] for entry in make_representative_dataset(images, 3)()]
    assert [image.shape for image in yielded] == [(1, 4, 4, 3)] * 3
    assert [float(image[0, 3, 3, 2]) for image in yielded] == pytest.approx(
        [0, 0.04, 0.08]
    )


def test_both_ends_of_the_range_are_always_there():
    images = np.full((2, 4, 4, 3), -0.5, np.float32)
    values = np.stack(
        [entry["image"] for entry in make_representative_dataset(images, 2)()]
    )
    assert (values.min(), values.max()) == (-1, 1)
    assert np.count_nonzero(values != -0.5) == 2
    assert (images == -0.5).all()


def test_can_be_read_more_than_once():
    generate = make_representative_dataset(_numbered_images(2), 2)
    assert len(list(generate())) == len(list(generate())) == 2


def test_too_few_images_say_how_many_are_needed():
    with pytest.raises(ValueError, match="calibration_images=5.*Received: 4 images"):
        make_representative_dataset(_numbered_images(4), 5)


def test_pixels_of_another_range_say_which_range_is_expected():
    with pytest.raises(ValueError, match=r"in \[-1, 1\].*127.5.*from 0 to 255"):
        make_representative_dataset(
            np.linspace(0, 255, 96).reshape((2, 4, 4, 3)), num_images=2
        )


def test_what_resizing_adds_to_white_is_taken_off():
    images = np.full((2, 4, 4, 3), 1 + 2e-7, np.float32)
    for sample in make_representative_dataset(images, 2)():
        assert sample["image"].max() == 1


def test_values_that_are_not_finite_are_counted():
    images = _numbered_images(3)
    images[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite.*3 values"):
        make_representative_dataset(images, 3)


def test_shape_other_than_four_axes_is_named():
    with pytest.raises(ValueError, match=r"\[B, H, W, C\].*\(4, 4, 3\)"):
        make_representative_dataset(np.zeros((4, 4, 3)), 1)
