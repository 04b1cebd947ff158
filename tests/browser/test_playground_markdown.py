"""The playground's Markdown: what means something is drawn, and everything else is kept."""

from __future__ import annotations

import random
import unicodedata
from typing import TYPE_CHECKING

import pytest

from .services import ScriptedService

if TYPE_CHECKING:
    from playwright.async_api import Page

DRAW = """async (texts) => {
    const { showMarkdown } = await import("/playground/drawing/markdown.js");
    return texts.map((text) => {
        const place = document.createElement("div");
        showMarkdown(place, text);
        const nodes = place.querySelectorAll("[data-language]");
        for (const node of nodes) node.prepend(node.dataset.language);
        return [place.textContent, place.firstElementChild?.outerHTML ?? ""];
    });
}"""
CASES = {
    "f(*args, **kwargs) and g(*a, **k)": "f(*args, **kwargs) and g(*a, **k)",
    "***both***": "<em><strong>both</strong></em>",
    "*a **b** c*": "<em>a <strong>b</strong> c</em>",
    "**a *b* c**": "<strong>a <em>b</em> c</strong>",
    "**bold**, *slanted*": "<strong>bold</strong>, <em>slanted</em>",
    "_slanted_ and snake_case_name, __init__": (
        "<em>slanted</em> and snake_case_name, <strong>init</strong>"
    ),
    "in*si*de, 2 * 3 * 4, a ** b ** c": "in<em>si</em>de, 2 * 3 * 4, a ** b ** c",
    "**open": "**open",
    "*a **b*": "*a *<em>b</em>",
    r"\*no\* \_no\_ \`no\`": "*no* _no_ `no`",
    r"\(x_1\) C:\new \[y\] \\": r"\(x_1\) C:\new \[y\] \\",
    "`*code*` `` a ` b ``": "<code>*code*</code> <code>a ` b</code>",
    "`open *a*": "`open <em>a</em>",
    "****four****": "****four****",
    '**"quoted"** and **(so)**.': '<strong>"quoted"</strong> and <strong>(so)</strong>.',
}
SEED = 5
NUM_TEXTS = 4000
PIECES = (
    *(
        "*",
        "**",
        "***",
        "_",
        "__",
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        "\n",
        "\n\n",
        " ",
        " ",
        "  ",
        "\t",
    ),
    *(
        "> ",
        ">>",
        "# ",
        "## ",
        "- ",
        "+ ",
        "1. ",
        "7) ",
        "---",
        "***\n",
        "\\",
        "\\*",
        "\r\n",
        "\u2028",
    ),
    *(
        "ab",
        "word",
        "x1",
        "é",
        "漢",
        "🦩",
        "(",
        ")",
        "[",
        "]",
        "{",
        "<b>",
        "&amp;",
        "|",
        "$",
        "%",
        '"',
    ),
    *(
        "```js\n",
        "``` js x\n",
        "~~~ json\n",
        "    in",
        "\ud83e",
        "\u0301",
        "\u200b",
        "json",
        ".",
        ":",
        "!",
    ),
)


@pytest.mark.parametrize("source", CASES)
async def test_emphasis_follows_commonmark(
    page: Page, scripted_service: ScriptedService, source: str
) -> None:
    """Marks that do not belong together stay the characters that they are."""
    await page.goto(f"{scripted_service.url}/")
    [[_, drawn]] = await page.evaluate(DRAW, [source])
    assert drawn == f"<p>{CASES[source]}</p>"


async def test_lists_of_two_kinds_keep_their_numbers(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Points below a numbered item end its list; the next number begins where it says."""
    await page.goto(f"{scripted_service.url}/")
    source = "> 1. one\n> - a\n> - b\n> 2. two"
    [[_, drawn]] = await page.evaluate(DRAW, [source])
    assert drawn == (
        "<blockquote><ol><li>one</li></ol><ul><li>a</li><li>b</li></ul>"
        '<ol start="2"><li>two</li></ol></blockquote>'
    )


async def test_no_text_is_lost(page: Page, scripted_service: ScriptedService) -> None:
    """Whatever is written: each letter and each sign that is no mark is there, in its order."""
    chance = random.Random(SEED)
    texts = [
        "".join(chance.choices(PIECES, k=chance.randint(1, 60))).encode("utf-16", "surrogatepass")
        for _ in range(NUM_TEXTS)
    ]
    sources = [text.decode("utf-16", "replace") for text in texts]
    await page.goto(f"{scripted_service.url}/")
    drawn = await page.evaluate(DRAW, sources)
    for source, (shown, _) in zip(sources, drawn, strict=True):
        assert kept(shown) == kept(source), repr(source)


def kept(text: str) -> str:
    """What of a text no Markdown may take away."""
    return "".join(
        sign for sign in text if unicodedata.category(sign)[0] in "LSPM" and sign not in MARKS
    )


MARKS = "*_`~>#-+.)\\"
