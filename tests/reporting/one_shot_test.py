import re

from mobilenas_tf.reporting.one_shot import one_shot_section

DOCUMENT = {
    "metric": "macs",
    "budgets": {"macs": 4e6},
    "log10_networks": 8.25,
    "evaluated": 120,
    "measure": "likelihood on 1024 images",
    "reliability": 0.71,
    "generations": [
        {"generation": 1, "networks": 60, "best": 0.5, "front": [[1e6, 0.5]]},
        {"generation": 2, "networks": 120, "best": 0.6, "front": [[1e6, 0.5]] * 2},
    ],
    "front": [
        {"genotype": {}, "score": 0.5, "accuracy": 0.61, "costs": {"macs": 1e6}},
        {"genotype": {}, "score": 0.6, "accuracy": 0.72, "costs": {"macs": 3e6}},
    ],
    "turned_off": [
        {
            "epoch": 5,
            "by": "score",
            "path": "stage1/block0/operation",
            "operation": "k3_e3",
            "best": "k5_e6",
            "behind": 0.034,
            "standard_error": 0.01,
        }
    ],
}


def test_it_says_what_was_searched_and_how_far_ranks_may_be_trusted():
    page = one_shot_section(DOCUMENT)
    assert "120 networks within 4.000 M multiply-adds were scored" in page
    assert "10^8.2" in page and "tau of 0.71" in page
    assert page.count("<svg") == 3
    assert "front/0" in page and "front/1" in page
    assert "by likelihood on 1024 images." in page and "61.00 %" in page


def test_every_turn_off_stands_there_with_its_evidence():
    body = one_shot_section(DOCUMENT).split("<tbody>")[2].split("</tbody>")[0]
    cells = re.findall("<td[^>]*>(.*?)</td>", body)
    assert cells[1:4] == ["stage1/block0", "k3_e3", "k5_e6"]
    assert "3.4" in cells[4] and "score" in cells[6]


def test_without_turn_offs_there_is_no_table():
    page = one_shot_section({**DOCUMENT, "turned_off": [], "reliability": None})
    assert page.count("<table") == 1 and "tau" not in page
