"""Open every page of the built site in Chromium, on a desk and on a phone, and print what a reader would find broken.

Pages are opened as files, as ``make docs`` names them, and whatever a page asks of the network is refused: what is
read here needs none. One line a problem: the page, what is wrong, where.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit
from urllib.request import Request, url2pathname, urlopen

import click
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Playwright, Route, sync_playwright

from toy.outside import found, missing

#: CSS pixels of a desk's and of a phone's window.
WIDTHS = (1280, 390)
#: Text below this many CSS pixels is not readable as shown; such a picture must lead to its full size by one click.
LEAST_TEXT = 6.0
#: Least font, in points, of a picture made of pixels (`paper_figures.style`), and its dots an inch where it tells none
#: (`theory_checks.ledger.notebook_display`).
POINTS, DOTS = 7.0, 110.0
#: Chromium lays out in 64ths of a pixel: a picture may be that much larger than its pixels, and a page than its window.
SUBPIXEL = 1.0

# What a page is, as its reader sees it. Pictures that are loaded late are asked for at once.
_SURVEY = r"""
async () => {
  const images = [...document.images];
  for (const image of images) image.loading = 'eager';
  await Promise.all(images.map(image => image.decode().catch(() => {})));
  const seen = element => element.checkVisibility();
  const name = element => element.tagName.toLowerCase() + (element.id ? '#' + element.id : '')
    + [...element.classList].map(c => '.' + c).join('');
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const raw = [], tables = [];
  for (let node; node = texts.nextNode();) {
    if (node.parentElement.closest('code, pre, script, style, textarea, math, svg')) continue;
    const found = node.data.match(/\$\$|\\\(|\\\[|\\begin\{|\\[a-z]+\{|\$[^$\s][^$]*\$/);
    if (found) raw.push(node.data.trim().slice(0, 60));
    if (/\|\s*-{3,}\s*\|/.test(node.data)) tables.push(node.data.trim().slice(0, 60));
  }
  // Formulas that a program was to set and did not, and commands that it did not know.
  for (const element of document.querySelectorAll('.math'))
    if (!element.querySelector('math, mjx-container, svg, img')) raw.push(element.textContent.trim().slice(0, 60));
  for (const math of document.querySelectorAll('math'))
    if (math.querySelector('merror') || /\\[A-Za-z]/.test(math.textContent)) raw.push(math.textContent.slice(0, 60));
  const formulas = document.querySelectorAll('math, mjx-container').length;
  const empty = [...document.querySelectorAll('math')].filter(seen)
    .filter(math => math.textContent.trim() && math.getBoundingClientRect().width < 1).map(m => m.textContent);
  const room = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth - room;
  // A box that scrolls excuses what it holds, unless it holds the whole page.
  const heading = document.querySelector('h1') || document.body;
  const scrolls = element => {
    for (let e = element.parentElement; e && !e.contains(heading); e = e.parentElement)
      if (getComputedStyle(e).overflowX !== 'visible' || getComputedStyle(e).position === 'fixed') return true;
    return false;
  };
  const over = [...document.querySelectorAll('body *')].filter(seen).filter(e =>
    e.getBoundingClientRect().right > room + 1 && getComputedStyle(e).position !== 'fixed' && !scrolls(e));
  const inner = over.filter(e => ![...e.children].some(child => over.includes(child)));
  return {
    title: document.title,
    links: [...document.querySelectorAll('a[href]')].map(a => a.href),
    anchors: [...document.querySelectorAll('[id]')].map(e => e.id)
      .concat([...document.querySelectorAll('a[name]')].map(e => e.name)),
    images: images.map(image => ({
      source: image.currentSrc || image.src, alt: image.getAttribute('alt') || '',
      natural: image.naturalWidth, shown: seen(image) ? image.getBoundingClientRect().width : 0,
      link: image.closest('a')?.href || '',
    })),
    // The letters of matplotlib's text are outlines of an em of 100 units.
    letters: [...document.querySelectorAll('svg')].filter(seen).map(svg => ({
      name: name(svg.parentElement),
      em: Math.min(...[...svg.querySelectorAll('g[id*="text_"] use')].map(use => {
        const m = use.getScreenCTM();
        return 100 * Math.hypot(m.a, m.b);
      })),
    })).filter(svg => isFinite(svg.em)),
    raw: raw.concat(empty), tables: tables, formulas: formulas,
    overflow: wide > 1 || over.length ? Math.max(wide, 0) : null,
    widest: inner.slice(0, 3).map(name),
  };
}
"""


@dataclass(frozen=True)
class Problem:
    """One line of the report."""

    page: str
    what: str
    target: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}: {self.target}"


@dataclass
class Page:
    """What the browser saw of one page.

    Attributes:
        path: of the page below the site.
        views: what it was, by the window's width.
        complaints: kind and text of what the browser said meanwhile.
    """

    path: Path
    views: dict[int, dict[str, Any]] = field(default_factory=dict)
    complaints: list[tuple[str, str]] = field(default_factory=list)

    @property
    def links(self) -> set[str]:
        """Where its links lead, as absolute addresses."""
        return {link for view in self.views.values() for link in view["links"]}

    @property
    def anchors(self) -> set[str]:
        """Ids to which a link can lead."""
        return {anchor for view in self.views.values() for anchor in view["anchors"]}


def browser_of(playwright: Playwright) -> Browser:
    """Start the system's Chromium, or the one that ``playwright install chromium`` fetched.

    Raises:
        FileNotFoundError: if there is neither.
    """
    own = playwright.chromium.executable_path
    if sentence := missing("browser", own):
        raise FileNotFoundError(sentence)
    return playwright.chromium.launch(executable_path=found("browser", own))


def survey(browser: Browser, site: Path) -> list[Page]:
    """Open every page below ``site`` in a window of each width; in one that is resized pictures may be on their way."""
    pages: list[Page] = []

    def refuse(route: Route) -> None:
        pages[-1].complaints.append(("asks the network", route.request.url))
        route.abort()

    def heard(message: ConsoleMessage) -> None:
        # A request that failed is told by its address below.
        if message.type == "error" and "Failed to load resource" not in message.text:
            pages[-1].complaints.append(("error in the console", message.text))

    def failed(request: Any) -> None:
        if request.url.startswith("file:"):
            pages[-1].complaints.append(("failed request", request.url))

    tabs = {width: browser.new_page(viewport={"width": width, "height": 900}) for width in WIDTHS}
    for tab in tabs.values():
        tab.route(lambda url: url.startswith(("http:", "https:")), refuse)
        tab.on("console", heard)
        tab.on("pageerror", lambda error: pages[-1].complaints.append(("error in a script", str(error))))
        tab.on("requestfailed", failed)
    for path in sorted(site.rglob("*.html")):
        pages.append(Page(path.relative_to(site)))
        for width, tab in tabs.items():
            tab.goto(path.as_uri())
            pages[-1].views[width] = tab.evaluate(_SURVEY)
    for tab in tabs.values():
        tab.close()
    return pages


def judge(site: Path, pages: list[Page]) -> Iterator[Problem]:
    """Tell what is wrong with the pages, each thing once a page."""
    anchors = {page.path: page.anchors for page in pages}
    for page in pages:
        name = page.path.as_posix()
        for what, target in dict.fromkeys(page.complaints):
            yield Problem(name, what, _short(target, site))
        for link in sorted(page.links):
            if link.startswith("file:") and (what := _broken(link, site, anchors)):
                yield Problem(name, what, _short(link, site))
        yield from dict.fromkeys(p for width, view in page.views.items() for p in _of_view(name, site, width, view))


def _broken(link: str, site: Path, anchors: dict[Path, set[str]]) -> str:
    address, fragment = urldefrag(link)
    path = Path(url2pathname(urlsplit(address).path))
    if not path.is_file() or not path.is_relative_to(site):
        return "link to a page that is not there"
    page = path.relative_to(site)
    # The empty fragment and #top are the top of every page.
    if fragment in ("", "top") or page not in anchors or unquote(fragment) in anchors[page]:
        return ""
    return "link to a place that is not there"


def _of_view(name: str, site: Path, width: int, view: dict[str, Any]) -> Iterator[Problem]:
    if not view["title"].strip():
        yield Problem(name, "page without a title", "<title>")
    if view["overflow"] is not None:
        yield Problem(name, f"wider than a window of {width} px", ", ".join(view["widest"]) or f"{view['overflow']} px")
    for text in view["raw"]:
        yield Problem(name, "formula that is not set", text)
    for text in view["tables"]:
        yield Problem(name, "table that is not set", text)
    for svg in view["letters"]:
        if svg["em"] < LEAST_TEXT:
            yield Problem(name, f"letters below {LEAST_TEXT:g} px in a window of {width} px", svg["name"])
    for image in view["images"]:
        target = _short(image["source"], site)
        if not image["natural"]:
            yield Problem(name, "picture that does not load", target)
            continue
        if not image["alt"].strip() or image["alt"].endswith(Path(urlsplit(image["source"]).path).name):
            yield Problem(name, "picture without words for those who do not see it", target)
        if target.endswith(".svg") or not image["shown"]:
            continue
        if image["shown"] > image["natural"] + SUBPIXEL:
            yield Problem(name, f"picture larger than its {image['natural']} pixels", target)
        letters = POINTS / 72 * _dots(image["source"]) * image["shown"] / image["natural"]
        if letters < LEAST_TEXT and image["link"] != image["source"]:
            what = f"letters of about {letters:.1f} px in a window of {width} px, and no link to the full size"
            yield Problem(name, what, target)


def _dots(source: str) -> float:
    if not source.startswith("file:"):
        return DOTS
    with Image.open(url2pathname(urlsplit(source).path)) as image:
        return float(image.info.get("dpi", (DOTS,))[0])


def _short(address: str, site: Path) -> str:
    return unquote(address).replace(f"{site.as_uri()}/", "").replace("file://", "")[:200]


def external(pages: list[Page]) -> dict[str, list[str]]:
    """Return the addresses outside of the site to which pages link, with the pages."""
    found: dict[str, list[str]] = defaultdict(list)
    for page in pages:
        for link in {urldefrag(link).url for link in page.links if link.startswith(("http:", "https:"))}:
            found[link].append(page.path.as_posix())
    return dict(sorted(found.items()))


def _answer(address: str) -> str:
    try:
        with urlopen(Request(address, headers={"User-Agent": "Mozilla/5.0"}), timeout=20):
            return ""
    except (OSError, ValueError, HTTPException) as error:  # those of urllib are among the first
        return str(error) or type(error).__name__


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("out/site"))
@click.option("--external", "ask", is_flag=True, help="Ask the network for every address outside of the site, too.")
def main(site: Path, ask: bool) -> None:
    """Check the pages of SITE in a browser.

    The exit status is 0 if nothing is broken, 1 if something is, 2 if there is no browser or no page.
    """
    site, began = site.resolve(), time.monotonic()
    with sync_playwright() as playwright:
        try:
            browser = browser_of(playwright)
        except FileNotFoundError as error:
            raise click.UsageError(str(error)) from error
        pages = survey(browser, site)
        browser.close()
    if not pages:
        raise click.UsageError(f"no page below {site}: run make docs first")
    problems = list(judge(site, pages))
    outside = external(pages)
    if ask:
        problems += [
            Problem(on[0], f"address that does not answer ({why})", link)
            for link, on in outside.items()
            if (why := _answer(link))
        ]
    for problem in problems:
        click.echo(problem)
    for link, on in outside.items():
        click.echo(f"outside, {'asked' if ask else 'not asked'}: {link} (from {on[0]}, {len(on)} pages)")
    desk = [page.views[WIDTHS[0]] for page in pages]
    inside = sum(link.startswith("file:") for page in pages for link in page.links)
    pictures = sum(len(view["images"]) + len(view["letters"]) for view in desk)
    formulas = sum(view["formulas"] for view in desk)
    click.echo(
        f"{len(pages)} pages at {' and '.join(map(str, WIDTHS))} px, {inside} links within the site, "
        f"{len(outside)} addresses outside, {pictures} pictures, {formulas} formulas: "
        f"{len(problems)} problems; {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
