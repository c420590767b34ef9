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
    "recipe": {"optimizer": "adamw", "learning_rate": 0.004, "ema_decay": 0.98},
    "default_recipe": {"optimizer": "sgd", "learning_rate": 0.1, "ema_decay": 0.0},
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


def cells(heading: str) -> list[list[str]]:
    """Returns the rows of the table below a heading."""
    body = joint_section(DOCUMENT).split(heading)[1].split("<tbody>")[1]
    rows = body.split("</tbody>")[0].split("</tr>")[:-1]
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows]


def test_it_says_what_was_trained_and_how_far():
    page = joint_section(DOCUMENT)
    assert "12 candidates were trained on digits, 256 images" in page
    assert "to epoch 3" in page and "within 4.000 M multiply-adds. 1 failed." in page
    assert "The network and the recipe of this run reach 70.0 %." in page
    assert page.count("<svg") == 2


def test_the_better_candidate_stands_higher():
    points = re.findall(r'<circle[^>]*cy="([\d.]+)"', joint_section(DOCUMENT))
    heights = [float(height) for height in points[:2]]
    assert 0 < heights[1] < heights[0] < 400


def test_a_candidate_that_failed_takes_no_part_in_the_means():
    second = cells("Rounds")[1]
    assert second[:4] == ["1", "coarse", "2", "1"]
    assert second[4:] == ["70", "70", "60", "–"]


def test_the_found_recipe_stands_beside_the_default_one():
    assert cells("The found recipe") == [
        ["optimizer", "adamw", "sgd"],
        ["learning rate", "0.004", "0.1"],
        ["ema decay", "0.98", "0"],
    ]


def test_effects_stand_in_points():
    page = joint_section(DOCUMENT)
    assert "averaged weights" in page and "off: 60.0 %, on: 65.0 %" in page


def test_a_run_that_only_asked_says_that_nothing_was_trained():
    asked = {"accuracy": None, "predicted": 0.68}
    page = joint_section({**DOCUMENT, "best": asked, "rounds": [], "front": []})
    assert "was not trained" in page and "at 68.0 %" in page
    assert "<svg" not in page
