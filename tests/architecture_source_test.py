import dataclasses

import pytest

from mobilenas_tf.architecture_source import fit_architecture, open_architecture
from mobilenas_tf.json_io import write_architecture
from mobilenas_tf.zoo import zoo_architecture

NETWORK = dataclasses.replace(
    zoo_architecture("mobilenet_v3_small", num_classes=10, image_size_px=96),
    name="mine",
)


def test_a_zoo_name_a_file_and_a_run_folder_are_opened(tmp_path):
    assert open_architecture("mnasnet_a1") == zoo_architecture("mnasnet_a1")
    path = tmp_path / "architecture.json"
    write_architecture(path, NETWORK)
    for reference in (path, str(path), tmp_path, f"{tmp_path}/"):
        assert open_architecture(reference) == NETWORK


def test_a_file_may_have_any_name(tmp_path):
    write_architecture(tmp_path / "found.txt", NETWORK)
    assert open_architecture(tmp_path / "found.txt") == NETWORK


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    with pytest.raises(ValueError) as error:
        open_architecture("mobilenetv2")
    assert "architecture must be a known name; the nearest are " in str(error.value)
    assert "mobilenet_v2" in str(error.value)
    assert "Received: architecture='mobilenetv2'" in str(error.value)


@pytest.mark.parametrize("reference", ["missing.json", "runs/missing"])
def test_a_path_that_leads_nowhere_is_no_zoo_name(reference):
    with pytest.raises(FileNotFoundError) as error:
        open_architecture(reference)
    assert str(error.value) == (
        f"{reference} must be a file or run folder. It is missing"
    )


def test_a_run_folder_without_architecture_says_when_it_gets_one(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        open_architecture(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/architecture.json must be there: a run folder holds it once its "
        "search is finished. It is missing"
    )


def test_a_file_that_is_no_architecture_is_refused_by_name(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="other.json must have schema_version"):
        open_architecture(path)


def test_an_architecture_of_the_right_classes_is_fitted_to_the_size_only():
    fitted = fit_architecture(NETWORK, num_classes=10, image_size_px=64)
    assert fitted == dataclasses.replace(NETWORK, image_size_px=64)
    assert fit_architecture(NETWORK, num_classes=10) == NETWORK


def test_other_classes_need_a_new_head():
    with pytest.raises(ValueError) as error:
        fit_architecture(NETWORK, num_classes=7)
    assert str(error.value) == (
        "num_classes of mine must be the data set's 7; give --replace_head to put a "
        "new classifier on it. Received: num_classes=10"
    )
    fitted = fit_architecture(NETWORK, num_classes=7, replace_head=True)
    assert fitted.head == dataclasses.replace(NETWORK.head, num_classes=7)
    assert fitted.stages == NETWORK.stages
    assert fitted.image_size_px == 96
