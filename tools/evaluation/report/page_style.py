"""Head and style of the page."""

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>hmcap: accuracy</title>"""
"""Everything before the style. The policy keeps the page from reaching out, whatever text gets into it."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #fdfdfb; --faint: #d5d8dc; --dim: #5b626c; --link: #0b5c8f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #16181c; --faint: #3a3f47; --dim: #a3aab4; --link: #6fb8e8 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: .3em 0 } h2 { font-size: 1.3rem; margin: 2.2em 0 .4em }
h3 { font-size: 1.1rem; margin: 1.6em 0 .3em } h4 { margin: 1em 0 .3em }
a { color: var(--link) } nav a { margin-right: .9em } small { color: var(--dim); font-weight: normal }
.key { display: inline-block; margin-right: 1.2em }
.key i { display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin-right: .4em }
.wide { overflow-x: auto; position: relative }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { padding: .25rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--faint) }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--dim) }
th[scope=row] { font-weight: normal; white-space: nowrap; position: sticky; left: 0; background: var(--paper) }
td small { display: inline-block; min-width: 6.6em; margin-left: .3rem; font-size: .75rem }
th:first-child, .text th, .text td, .word { text-align: left }
td.word, td.none { color: var(--dim) } td.word, td.value { white-space: nowrap }
td.paper { white-space: normal; min-width: 8.5rem; font-size: .85rem }
abbr[title] { text-decoration: none }
ul, .plot p { color: var(--dim); font-size: .9rem } ul { padding-left: 1.2rem }
figure { margin: 1.4rem 0 } .plot figcaption { font-weight: 600 } .plot p { margin: .2rem 0; width: 0; min-width: 100% }
.plots { display: flex; flex-wrap: wrap; gap: 0 2.5rem } .plot { max-width: 100% }
.plot svg { display: block; max-width: 100%; min-width: min(30rem, 190%); height: auto }
svg * { stroke-linejoin: round; stroke-linecap: butt }
.frames { display: flex; flex-wrap: wrap; gap: .4rem 1rem } .frame { margin: 0 0 .6rem; max-width: 100% }
.frame img { display: block; width: 100%; height: auto; border-radius: 4px }
.frame figcaption { font-size: .85rem; color: var(--dim) }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
dt { font-weight: 600 } dd { margin: 0 0 .5rem 1.2rem }
@media (max-width: 40rem) {
  th[scope=row] { white-space: normal; max-width: 8.5rem } td small { display: block; min-width: 0; margin: 0 }
}
@media print { body { max-width: none } figure { break-inside: avoid } }
"""
