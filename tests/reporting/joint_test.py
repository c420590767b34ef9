import re

from mobilenas_tf.reporting.joint import joint_section

DOCUMENT = {
    "space": "fbnet_v3_32",
    "measure": "digits, 256 images",
    "metric": "macs",
    "budgets": {"macs": 4e6},
    "trained": 12,
    "failed": 1,
    "stop_epoch": 3,
    "best": {"accuracy": 0.7, "predicted": 0.68},
    "rounds": [
        {
            "round": 0,
            "stage": "first",
            "predicted": [None, None],
            "accuracies": [0.5, None],
        },
        {
            "round": 1,
            "stage": "coarse",
            "predicted": [0.6, 0.9],
            "accuracies": [0.7, None],
        },
    ],
    "front": [
        {"accuracy": 0.5, "costs": {"macs": 1e6}},
        {"accuracy": 0.7, "costs": {"macs": 3e6}},
    ],
    "effects": [
        {
            "setting": "recipe/averaged_weights",
            "values": ["off", "on"],
            "accuracies": [0.6, 0.65],
            "best": "on",
            "effect": 0.05,
        }
    ],
}


def test_it_says_what_was_trained_and_how_far():
    page = joint_section(DOCUMENT)
    assert "12 candidates were trained on digits, 256 images" in page
    assert "to epoch 3" in page and "within 4.000 M multiply-adds. 1 failed." in page
    assert page.count("<svg") == 2


def test_the_better_candidate_stands_higher():
    points = re.findall(r'<circle[^>]*cy="([\d.]+)"', joint_section(DOCUMENT))
    heights = [float(height) for height in points[:2]]
    assert 0 < heights[1] < heights[0] < 400


def test_a_candidate_that_failed_takes_no_part_in_the_means():
    body = joint_section(DOCUMENT).split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall("<td[^>]*>(.*?)</td>", body.split("</tr>")[1])
    assert cells[:4] == ["1", "coarse", "2", "1"]
    assert cells[4:] == ["70", "70", "60", "–"]


def test_effects_stand_in_points():
    page = joint_section(DOCUMENT)
    assert "averaged weights" in page and "off: 60.0 %, on: 65.0 %" in page


def test_a_run_that_only_asked_says_that_nothing_was_trained():
    asked = {"accuracy": None, "predicted": 0.68}
    page = joint_section({**DOCUMENT, "best": asked, "rounds": [], "front": []})
    assert "was not trained" in page and "at 68.0 %" in page
    assert "<svg" not in page
