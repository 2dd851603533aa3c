"""The page around the sections: one self-contained HTML file for light and dark mode, laptop and phone.

Its content security policy blocks all loading and every script but its own.
"""

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from importlib import resources


@dataclass(frozen=True, slots=True)
class Section:
    """A rendered section; `name` is its anchor."""

    name: str
    title: str
    html: str


def page(lead: str, sections: list[Section]) -> str:
    """The whole HTML page; `lead` is the HTML of its first paragraph."""
    style, script = (f"\n{_read_text(name)}" for name in ("style.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    links = "".join(f'<li><a href="#{item.name}">{escape(item.title)}</a></li>' for item in sections)
    body = "\n".join(
        f'<section id="{item.name}"><h2>{escape(item.title)}</h2>\n{item.html}\n</section>' for item in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>convline report</title>
<style>{style}</style>
</head>
<body>
<header><h1>convline report</h1><p class="lead">{lead}</p></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{body}
</main>
<footer>Made by convline’s report stage. This page is self-contained: it loads nothing.</footer>
<script>{script}</script>
</body>
</html>
"""


def _read_text(name: str) -> str:
    """The content of a file beside this module."""
    return resources.files("pipeline.report").joinpath(name).read_text(encoding="utf-8")
