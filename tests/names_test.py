import pytest

from mobilenas_tf.names import lookup

TABLE = {"mobilenet_v2": 2, "mobilenet_v3": 3, "mnasnet": 1, "atomnas": 0}


def test_a_known_name_gives_its_entry():
    assert lookup("network", "mnasnet", TABLE) == 1


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    with pytest.raises(ValueError) as error:
        lookup("network", "mobilenetv3", TABLE)
    assert str(error.value) == (
        "network must be a known name; the nearest are mobilenet_v3, mobilenet_v2. "
        "Received: network='mobilenetv3'"
    )


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(
        ValueError, match="atomnas, mnasnet, mobilenet_v2, mobilenet_v3"
    ):
        lookup("network", "?", TABLE)
