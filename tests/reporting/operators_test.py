import re

import pytest

from mobilenas_tf.reporting.operators import operator_section

PLACES = {"stage1/block0": ["k3_e1", "skip"], "stage2/block0": ["k3_e1", "k5_e6"]}
DOCUMENT = {
    "metric": "ms",
    "budget": 0.5,
    "candidates": PLACES,
    "probabilities": {"stage1/block0": [0.25, 0.75], "stage2/block0": [0.9, 0.1]},
    "found": {"genotype": {"stage1/block0": 0, "stage2/block0": 0}, "cost": 0.45},
}


def test_probabilities_stand_in_a_table_and_the_found_operators_are_underlined():
    page = operator_section(DOCUMENT, [])
    assert "costs 0.45 ms of 0.5" in page
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall("<td[^>]*>(.*?)</td>", body)
    # Columns: the place, k3_e1, k5_e6, skip.
    assert cells[:4] == ["stage1/block0", "<u>25</u>", "", "75"]
    assert cells[4:] == ["stage2/block0", "<u>90</u>", "10", ""]


@pytest.mark.parametrize(
    ("metric", "unit"),
    [("bit_macs", "bit operations"), ("weight_bytes", "bytes of weights")],
)
def test_budgets_of_bit_widths_are_named(metric, unit):
    page = operator_section({**DOCUMENT, "metric": metric}, [])
    assert f"costs 0.45 {unit} of 0.5" in page


def test_every_place_has_its_course():
    rows = [
        {"step": step, "p/stage1/block0/skip": 0.1 * step, "p/stage1/block0/k3_e1": 0.2}
        for step in (1, 2)
    ]
    page = operator_section(DOCUMENT, rows)
    assert page.count("<svg") == 1  # of the place that the rows are of
    assert page.count("stage1/block0") > page.count("stage2/block0")
