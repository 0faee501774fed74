"""The check of the site finds each kind of fault, names its page and target, and calls a sound page sound."""

import sys
from pathlib import Path

import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra docs")
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import check_site  # noqa: E402

pytestmark = pytest.mark.outside("browser")

SOUND = """
<h1 id="top-of-it">Sound</h1>
<p>Costs $5 and <code>$$x$$</code>; <span class="math"><math><mi>x</mi></math></span></p>
<a href="other.html#there">other</a> <a href="#top-of-it">up</a> <a href="#">top</a> <a href="https://example.org">out</a>
<img src="small.png" alt="a grey square">
<a href="wide.png"><img src="wide.png" alt="a wide picture" style="max-width: 100%"></a>
<div style="overflow-x: auto"><div style="width: 2000px">a table that scrolls in its box</div></div>
"""
# One letter of 10 points, as matplotlib draws it, in a picture 300 points wide.
DRAWN = """<div class="picture"><svg width="{}" viewBox="0 0 300 20"><defs><path id="m" d="M0 0h60v60z"/></defs>
<g id="text_1"><g transform="scale(0.1 -0.1)"><use href="#m"/></g></g></svg></div>"""

FAULTS = {
    "page that is not there": ('<a href="gone.html">x</a>', "link to a page that is not there", "gone.html"),
    "page outside of the site": ('<a href="../away.html">x</a>', "link to a page that is not there", "away.html"),
    "folder in place of a page": ('<a href="./">x</a>', "link to a page that is not there", ""),
    "anchor that is not there": (
        '<a href="other.html#gone">x</a>',
        "link to a place that is not there",
        "other.html#gone",
    ),
    "anchor of its own": ('<a href="#gone">x</a>', "link to a place that is not there", "#gone"),
    "picture that is not there": ('<img src="gone.png" alt="x">', "picture that does not load", "gone.png"),
    "picture that is no picture": ('<img src="other.html" alt="x">', "picture that does not load", "other.html"),
    "late picture that is not there": (
        '<p style="height: 9000px"></p><img loading="lazy" src="late.png" alt="x">',
        "picture that does not load",
        "late.png",
    ),
    "picture without words": ('<img src="small.png">', "picture without words", "small.png"),
    "file's name in place of words": ('<img src="small.png" alt="a/small.png">', "picture without words", "small.png"),
    "picture beyond its pixels": (
        '<img src="small.png" alt="x" style="width: 120px">',
        "picture larger than its 60 pixels",
        "small.png",
    ),
    "letters too small on a phone": (
        '<img src="wide.png" alt="x" style="max-width: 100%">',
        "letters of about 4.0 px in a window of 390 px",
        "wide.png",
    ),
    "drawn letters too small": (DRAWN.format(150), "letters below 6 px", "div.picture"),
    "page too wide in a box that scrolls it all": (
        '<div style="overflow-x: auto"><h1>All</h1><p class="w" style="width: 600px">x</p></div>',
        "wider than a window of 390 px",
        "p.w",
    ),
    "page too wide": ('<p style="width: 1500px">x</p>', "wider than a window of 1280 px", "p"),
    "page too wide for a phone": ('<p class="w" style="width: 600px">x</p>', "wider than a window of 390 px", "p.w"),
    "formula by a script that never came": (r'<span class="math">\(a\)</span>', "formula that is not set", r"\(a\)"),
    "dollars": ("<p>$$a = b$$</p>", "formula that is not set", "$$a = b$$"),
    "bars": ("<p>| a | b |\n| --- | --- |\n| 1 | 2 |</p>", "table that is not set", "| 1 | 2 |"),
    "unknown command": (r"<math><mtext>\foo</mtext></math>", "formula that is not set", r"\foo"),
    "script from the network": (
        '<script src="https://example.org/x.js"></script>',
        "asks the network",
        "example.org/x.js",
    ),
    "script that throws": ("<script>throw new Error('no')</script>", "error in a script", "no"),
    "complaint in the console": ("<script>console.error('woe')</script>", "error in the console", "woe"),
    "style sheet that is not there": ('<link rel="stylesheet" href="gone.css">', "failed request", "gone.css"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a site of one page a fault, as the browser saw it."""

    def write(name, body, title="<title>A page</title>"):
        (site / name).write_text(f"<!doctype html><meta charset=utf-8>{title}<body style='margin: 0'>{body}", "utf-8")

    site = tmp_path_factory.mktemp("all") / "site"
    site.mkdir()
    for name, (body, _, _) in FAULTS.items():
        write(f"{name}.html", body)
    write("sound.html", SOUND + DRAWN.format("100%"))
    write("other.html", '<h1 id="there">Other</h1>')
    write("without a title.html", "", title="")
    write("../away.html", "")
    Image.new("L", (60, 60)).save(site / "small.png", dpi=(72, 72))
    # At 7 points on 72 dots an inch, 690 pixels on a phone's 390 leave letters of 4 pixels.
    Image.new("L", (690, 60)).save(site / "wide.png", dpi=(72, 72))
    with playwright.sync_playwright() as running:
        return site, check_site.survey(check_site.browser_of(running), site)


@pytest.fixture(scope="module")
def problems(pages):
    return list(check_site.judge(*pages))


def test_sound_pages_have_no_problem(problems):
    assert [p for p in problems if p.page in ("sound.html", "other.html")] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(problems, name):
    _, what, target = FAULTS[name]
    found = [p for p in problems if p.page == f"{name}.html"]
    assert any(p.what.startswith(what) and p.target.endswith(target) for p in found), found


def test_a_page_without_a_title_is_found(problems):
    assert [p.what for p in problems if p.page == "without a title.html"] == ["page without a title"]


def test_addresses_outside_are_listed_with_their_pages(pages):
    _, seen = pages
    assert check_site.external(seen) == {"https://example.org/": ["sound.html"]}


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "http://exa mple.org/", "http://[::1/"])
def test_an_address_that_cannot_answer_is_told_and_stops_nothing(address):
    assert check_site._answer(address)
