import pytest

from mobilenas_tf.names import check_name, lookup

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


@pytest.mark.parametrize("name", ["cat", "a cat; rm -rf /", "'\"$x`", "ü 猫", "../.."])
def test_a_name_may_have_what_a_line_of_text_has(name):
    check_name(name, "class")


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "a\r", "\x1b[2J", "\u2028", "\udcff"]
)
def test_a_name_that_is_no_line_of_text_is_refused(name):
    with pytest.raises(ValueError) as error:
        check_name(name, "class")
    assert str(error.value) == (
        "class must be a name on one line, without control characters. "
        f"Received: {name!r}"
    )
