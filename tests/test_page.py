"""The report page as people meet it: in a browser, wide and narrow, light, dark and printed, from a file."""

import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from contrastive_inversion import papers
from contrastive_inversion.run import verify
from ledgers import transcribe

REFERENCE = Path(__file__).resolve().parents[1] / "results" / "reference"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STUDIES = ("published", "demo", "simclr-demo")
GALLERIES = {"demo": 2}  # figures of images, which a kept run does not have
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the published numbers and of the kept runs, by study."""
    results, figures = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("figures")
    for name in STUDIES:
        study = papers.study(name)
        if study.settings.measured:
            shutil.copytree(REFERENCE / name / "measurements", results / name / "measurements")
        else:
            transcribe(study, results)
        verify.verify(study, results, figures)
    return {name: results / name / "report.html" for name in STUDIES}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def opened(pages, browser):
    """A function that opens a study's page; what it asked for and what went wrong hang on it."""

    def open_page(name, size=WIDE, scheme="light"):
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: page.errors.append(message.text))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in browser.contexts:
        context.close()


def bottom(locator):
    box = locator.bounding_box()
    return box["y"] + box["height"]


def shown(page, selector):
    """The ids of what is not hidden."""
    return [each.get_attribute("id") for each in page.locator(selector).all() if each.is_visible()]


@pytest.mark.parametrize("name", STUDIES)
def test_it_is_one_file_that_asks_for_nothing_more_and_raises_no_error(opened, pages, name):
    page = opened(name)
    assert [url for url in page.asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert page.errors == [] and pages[name].stat().st_size < 3e6


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", STUDIES)
def test_axe_finds_no_barrier(opened, name, size, scheme):
    page = opened(name, size, scheme)
    for summary in page.locator(".claim details > summary, .cell details > summary").all()[:6]:
        summary.click()
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", STUDIES)
def test_the_first_screen_says_what_holds_and_nothing_scrolls_sideways(opened, name, size):
    page = opened(name, size)
    sentence = page.locator(".lead").first
    assert re.fullmatch(r"Of the paper's \d headline claims, .*(hold|fail|open|reading).*", sentence.inner_text())
    assert bottom(sentence) < size["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_phone_shows_every_verdict_of_a_claim_within_its_width(opened, name):
    page = opened(name, NARROW)
    boxes = [badge.bounding_box() for badge in page.locator(".claim .verdicts .badge").all()]
    assert boxes and all(box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"] for box in boxes)


@pytest.mark.parametrize("name", STUDIES)
def test_print_keeps_every_figure_and_leaves_the_controls_out(opened, name):
    page = opened(name)
    page.emulate_media(media="print")
    figures = page.locator("figure").all()
    assert len(figures) == len(papers.study(name).settings.figures) - GALLERIES.get(name, 0)
    assert all(figure.is_visible() and figure.bounding_box()["height"] > 100 for figure in figures)
    assert not page.locator("nav").is_visible() and page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("name", STUDIES)
def test_every_link_within_the_page_and_beside_it_leads_somewhere(opened, pages, name):
    page = opened(name)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    links = page.evaluate("[...document.querySelectorAll('a[href]')].map(link => link.getAttribute('href'))")
    assert len(set(ids)) == len(ids) > 20
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    kept = {link for link in links if link.startswith(("measurements/", "tables/"))}
    assert kept and all((pages[name].parent / link).exists() for link in kept)


def test_a_link_to_a_table_ends_below_the_bar_that_stays(opened, pages):
    page = opened("published")
    page.goto(f"{pages['published'].as_uri()}#table-8")
    head, bar = page.locator("#table-8 h3").bounding_box(), page.locator("nav").bounding_box()
    assert bar["y"] == 0 and bar["height"] <= head["y"] < WIDE["height"] / 2


def test_a_search_finds_what_is_named(opened):
    page = opened("published")
    for words, tables in (("STL-10", ["table-2", "table-5"]), ("table 8", ["table-8"]), ("no such words", [])):
        page.fill("#search", words)
        assert shown(page, ".block[id^=table]") == tables
    assert page.locator("#found").inner_text() == "nothing matches" and not page.locator(".group").first.is_visible()
    page.fill("#search", "")
    assert page.locator("#found").inner_text() == ""
    page.select_option("#filter", "failures")
    verdicts = {claim.get_attribute("data-verdict") for claim in page.locator(".claim").all() if claim.is_visible()}
    assert verdicts == {"fails"}
    groups = {group.is_visible(): group.locator(".item").all() for group in page.locator(".group").all()}
    assert groups.keys() == {True, False}
    assert all(any(item.is_visible() for item in items) == shown for shown, items in groups.items())


def test_a_search_of_claims_is_one_of_the_starts_of_words_in_what_they_say(opened):
    """`themselves`, which the page says of every reading, is no MSE."""
    page = opened("published")
    page.fill("#search", "mse")
    claims = [claim for claim in page.locator(".claim").all() if claim.is_visible()]
    assert 0 < len(claims) < 10
    assert all(re.search(r"\bmse", claim.text_content(), re.IGNORECASE) for claim in claims)
    for words in ("oise", "flips at"):  # within noise, and in what the page says below every reading
        page.fill("#search", words)
        assert shown(page, ".claim") == []
    page.fill("#search", "student (")  # no regular expression
    assert page.errors == [] and len(shown(page, ".claim")) > 10


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ["demo", "simclr-demo"])
def test_the_numbers_of_an_axis_stand_over_its_lines(opened, name, size):
    group = opened(name, size).locator(".group").first
    centres = [box["x"] + box["width"] / 2 for box in map(box_of, group.locator(".axis .ticks span").all())]
    lines = [box_of(line)["x"] for line in group.locator(".claim").first.locator("summary .tick").all()[: len(centres)]]
    assert len(lines) > 1 and lines == pytest.approx(centres, abs=1)


def box_of(locator):
    return locator.bounding_box()


@pytest.mark.parametrize("name", ["demo", "simclr-demo"])
def test_a_phone_shows_figures_in_a_size_that_can_be_read(opened, name):
    drawings = opened(name, NARROW).locator("figure svg[role=img]").all()
    assert drawings and all(drawing.bounding_box()["width"] >= 640 for drawing in drawings)


def test_the_first_stop_of_the_keyboard_skips_to_the_claims(opened):
    page = opened("demo")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#claims")


def test_a_click_on_a_head_sorts_numbers_as_numbers(opened):
    page = opened("published")
    page.locator("#table-1 thead button").nth(1).click()
    values = [
        float(cell.get_attribute("data-value").split("±")[0])
        for cell in page.locator("#table-1 tr td:nth-child(2)").all()
    ]
    assert len(values) > 5 and values == sorted(values)
    assert page.locator("#table-1 thead th").nth(1).get_attribute("aria-sort") == "ascending"
