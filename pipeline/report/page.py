"""The page around the sections: one file that needs no other, in light and dark, on laptop and phone.

The content security policy in its head lets it load nothing and run no script but its own.
"""

import base64
import hashlib
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #22262b; --soft: #646b74; --line: #e4e0d7;
  --accent: #0d6e6e; --wash: #e3f0ee; --warn: #a8481a; --warn-wash: #fbeee6; --behind: #c9c6bf; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1b1f23; --ink: #e7e4de; --soft: #9aa2ab;
  --line: #2e343a; --accent: #62c6bb; --wash: #1d3634; --warn: #f0a071; --warn-wash: #35251c; --behind: #464d54; }
  img { filter: brightness(.9); } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4rem; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
header, main, footer { max-width: 1240px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; } footer { padding-block: 2rem 3rem; color: var(--soft); font-size: .875rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.02em; }
h2 { font-size: 1.45rem; margin: 0 0 .5rem; letter-spacing: -.01em; }
h3 { font-size: 1.05rem; margin: 2rem 0 .6rem; } h4 { font-size: .95rem; margin: 1.2rem 0 .6rem; }
small { color: var(--soft); font-weight: 400; }
section { padding: 2.5rem 0; border-top: 1px solid var(--line); } section:first-child { border-top: 0; }
a { color: var(--accent); } .lead, .intro { max-width: 46rem; margin: 0 0 1rem; } .lead { font-size: 1.1rem; }
.intro, .note, .aside, .range, .absent, figcaption { color: var(--soft); } .note, figcaption { font-size: .875rem; }
nav { position: sticky; top: 0; z-index: 3; background: var(--paper); border-bottom: 1px solid var(--line); }
nav ul { max-width: 1240px; margin: 0 auto; padding: .6rem 1.25rem; display: flex; gap: 1.25rem; list-style: none;
  overflow-x: auto; white-space: nowrap; font-size: .925rem; } nav a { text-decoration: none; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .5rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; } thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--card); min-width: 8.5rem; }
.number, .primary { white-space: nowrap; } .words { min-width: 15rem; }
.range, .aside { display: block; font-size: .8rem; font-weight: 400; }
.pill { display: inline-block; padding: .05rem .5rem; border-radius: 99px; border: 1px solid var(--line);
  font-size: .78rem; font-weight: 500; color: var(--soft); white-space: nowrap; }
.pill.good { background: var(--wash); color: var(--accent); border-color: transparent; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " ↑"; } th[aria-sort=descending] button::after { content: " ↓"; }
.warning { color: var(--warn); } .failed { border-left: 3px solid var(--warn); background: var(--warn-wash);
  padding: .7rem 1rem; border-radius: 0 8px 8px 0; margin: .8rem 0; }
pre { margin: .3rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.5 ui-monospace, Menlo, Consolas,
  monospace; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.warning summary { color: inherit; } .warning ul { color: var(--ink); font-size: .9rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .875rem; margin: .6rem 0; }
dt { font-weight: 600; } dd { margin: 0; color: var(--soft); }
figure { margin: 0; } figcaption { margin: .4rem 0; } figcaption b { color: var(--ink); }
img { display: block; max-width: 100%; height: auto; border-radius: 8px; border: 1px solid var(--line); }
.tiles { display: grid; gap: 1rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(45%, 176px), 1fr)); }
.tiles img { width: 100%; max-width: 256px; } .tile img { image-rendering: pixelated; border-radius: 4px; }
td .tile img { width: auto; height: 48px; } .formula { font: italic 1.05rem/1.7 ui-serif, Georgia, serif; }
.gallery { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .4rem .8rem; }
svg text { font-size: 12px; fill: var(--soft); } svg .name { fill: var(--ink); } svg .strong { font-weight: 600; }
svg .name, svg .tick { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.card svg text { stroke: var(--card); }
.chart { display: block; width: 100%; max-width: 520px; height: auto; }
.grid { stroke: var(--line); } .leader { stroke: var(--behind); }
.axis { stroke: var(--soft); } .whisker { stroke: var(--accent); stroke-opacity: .45;
  stroke-width: 2; } .mark { stroke: var(--soft); stroke-dasharray: 2 2; } .dot { fill: var(--accent); }
.dot.faint { fill: var(--soft); } polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.front { stroke: var(--accent); stroke-opacity: .5; stroke-width: 1.5; stroke-dasharray: 4 4; }
.behind { stroke: var(--behind); stroke-width: 1; } .curve { stroke: var(--accent); stroke-width: 2; }
.part { stroke: var(--accent); stroke-width: 1; opacity: .6; }
.interval { width: 96px; height: 18px; vertical-align: -4px; margin-right: .5rem; }
.aside .interval { display: block; margin: .2rem 0; } .offstage { position: absolute; }
.shares { display: flex; gap: 2px; height: 10px; max-width: 46rem; } .shares i { border-radius: 3px; min-width: 2px; }
.split-0 { background: var(--accent); } .split-1 { background: var(--soft); } .split-2 { background: var(--behind); }
.bars { list-style: none; padding: 0; margin: .6rem 0; columns: 17rem; column-gap: 2.5rem; font-size: .875rem; }
.bars li { display: grid; grid-template-columns: 7rem 1fr 3.5rem; gap: .6rem; align-items: center;
  break-inside: avoid; }
.bars span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .bars b { font-weight: 400; }
.bars i { height: 8px; border-radius: 3px; background: var(--accent); opacity: .75; }
@media (max-width: 600px) { body { font-size: 15px; } h1 { font-size: 1.6rem; } header { padding-top: 1.75rem; }
  section { padding: 1.75rem 0; } th, td { padding: .45rem .6rem; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; } .gallery svg text { font-size: 13px; } .sortable tr > :nth-child(3) { display: none; } }
@media print { nav { display: none; } section { break-inside: auto; } .scroll { overflow: visible; } }
"""

# A click on a column's head sorts by it, a second click the other way; missing values stay last.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const missing = row => row.cells[column].querySelector(".absent") !== null;
      const order = (a, b) => {
        const [x, y] = [a, b].map(row => row.cells[column]);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (x.dataset.sort ? x.dataset.sort - y.dataset.sort : x.innerText.localeCompare(y.innerText));
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A rendered section; `name` is its anchor."""

    name: str
    title: str
    html: str


def page(lead: str, sections: list[Section]) -> str:
    """The whole HTML page; `lead` is the HTML of its opening sentence."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
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
<style>{STYLE}</style>
</head>
<body>
<header><h1>convline report</h1><p class="lead">{lead}</p></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{body}
</main>
<footer>Made by convline’s report stage. The page stands alone: it loads nothing from elsewhere.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""
