"""The pages beside the results are what the command makes of them."""

from pathlib import Path

import pytest

import image_exps.results
from image_exps.results import outside
from image_exps.results.tables import PAGES
from image_exps.search.report import page

RESULTS = Path(image_exps.results.__file__).parent


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_tables_is_that_of_its_rows(name):
    assert (RESULTS / name / "TABLES.md").read_text(encoding="utf-8") == PAGES[name].text(name)


def test_the_page_of_the_documentation_on_outside_networks_is_that_of_the_rows():
    path = RESULTS.parents[1] / "docs" / "explanation" / "outside-networks.md"
    assert path.read_text(encoding="utf-8") == outside.page(outside.outside_rows())


def test_every_sweep_with_results_has_a_page():
    assert {path.parent.name for path in RESULTS.glob("*/results.parquet")} == set(PAGES)


def test_the_page_of_the_search_is_that_of_its_record():
    folder = RESULTS / "search"
    assert (folder / "README.md").read_text(encoding="utf-8") == page(folder)
