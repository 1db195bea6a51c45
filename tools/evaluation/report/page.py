"""The page of an evaluation: one HTML file that needs nothing else, neither network nor other files."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from ....realtime.exporters.files import atomic_path
from ....realtime.progress import printable
from ..records import Case, Prediction
from ..sets.registry import SETS
from .page_style import HEAD, STYLE
from .pictures import Picture, worst_pictures
from .plot_svg import Plot, Styles, method_styles
from .plots import main_measures, set_plots
from .published import PUBLISHED, Published
from .result_records import MethodVariant, Results, SetResult, Value
from .results import Key
from .table_rows import (
    Measure,
    Row,
    frames_compared,
    in_order,
    kind_of,
    measure_named,
    methods_in_order,
    set_notes,
    table_rows,
)

_MOST_PICTURES = 150
"""About 50 kB each, so that the page stays below 10 MB."""


def write_page(
    path: Path, results: Results, cases: Sequence[Case] = (), predictions: Mapping[Key, Prediction] | None = None
) -> None:
    """Write the page. Without ``cases`` and ``predictions`` it has no pictures of the worst frames and no paths.

    Raises:
        HmcapError: matplotlib is not installed, or the file cannot be written. Footage that cannot be read is no
            error: the page says so and shows the figures alone.
    """
    text = page(results, cases, {} if predictions is None else predictions)
    with atomic_path(path) as part:
        part.write_bytes(text.encode())


def page(results: Results, cases: Sequence[Case], predictions: Mapping[Key, Prediction]) -> str:
    """The text of the page; the same results, cases and predictions give the same text."""
    styles = method_styles(list(results.methods))
    rows = {name: table_rows(name, found) for name, found in results.sets.items()}
    shown = sum(len(s.methods) for s in results.sets.values())
    count = max(1, min(3, _MOST_PICTURES // max(1, shown)))
    parts = [
        HEAD,
        f"<style>{STYLE}</style></head><body>",
        _heading(results, styles, _papers(rows) != ""),
        "<main>",
        _summary(results, rows),
    ]
    for k, (name, found) in enumerate(results.sets.items()):
        own = [c for c in cases if c.set_name == name]
        parts.append(f'<section id="set-{k}">{_set_head(results, name, found, rows[name])}')
        plots = "".join(_figure(plot) for plot in set_plots(name, found, styles, own, predictions))
        parts.append(f'<div class="plots">{plots}</div>')
        measures = main_measures(found)
        if own and measures:
            pictures, problems = worst_pictures(found, measures[0], styles, own, predictions, count)
            parts.append(_worst(measures[0], pictures, problems, styles))
        parts.append("</section>")
    parts += [_methods(results), _papers(rows), _definitions(rows), "</main></body></html>\n"]
    return "\n".join(parts)


def _e(text: object) -> str:
    return escape(printable(str(text)))


def _heading(results: Results, styles: Styles, papers: bool) -> str:
    cases = sum(len(s.cases) for s in results.sets.values())
    frames = sum(s.frames for s in results.sets.values())
    keys = " ".join(f'<span class="key"><i style="background:{styles[m][0]}"></i>{_e(m)}</span>' for m in styles)
    to_papers = '<a href="#papers">papers</a>' if papers else ""
    links = " ".join(f'<a href="#set-{k}">{_e(name)}</a>' for k, name in enumerate(results.sets))
    return (
        f"<header><h1>Accuracy of motion capture</h1><p>{_number(len(results.sets), 'set')}, "
        f"{_number(cases, 'case')}, {_number(frames, 'frame')}, measured by hmcap {_e(results.hmcap_version)}. Every "
        f'method is measured by the same code.</p><p aria-label="Methods">{keys}</p>'
        f'<nav aria-label="Contents">{links} <a href="#methods">methods</a> {to_papers} '
        '<a href="#measures">measures</a></nav></header>'
    )


def _summary(results: Results, rows: Mapping[str, Sequence[Row]]) -> str:
    """The main measures of every set in one table."""
    methods = methods_in_order(results.methods)
    lines = []
    for k, (name, found) in enumerate(results.sets.items()):
        names = [m.name for m in main_measures(found)]
        for row in (r for r in rows[name] if r.measure.name in names):
            cells = "".join(_cell(row, m) for m in methods)
            link = f'<a href="#set-{k}">{_e(name)}</a>'
            lines.append(f'<tr><th scope="row">{link}</th><td class="word">{_e(row.measure.label)}</td>{cells}</tr>')
    if len(lines) < 2:
        return ""
    head = "".join(_method_head(m) for m in methods)
    return (
        '<section><h2>At a glance</h2><div class="wide"><table><thead><tr><th scope="col">set</th>'
        f'<th scope="col" class="word">measure</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        "</section>"
    )


def _set_head(results: Results, name: str, found: SetResult, rows: Sequence[Row]) -> str:
    info = SETS.get(name)
    about = f"{_e(info.title[:1].upper() + info.title[1:])}. " if info else ""
    counts = f"{_number(len(found.cases), 'case')}, {_number(found.frames, 'frame')}."
    notes = "".join(f"<li>{_e(note)}</li>" for note in set_notes(results, name, rows))
    intervals = any(v.low == v.low for row in rows for v in row.values.values())  # NaN is not itself
    notes += "<li>\u2193 lower is better, \u2191 higher is better; the best of a row is bold.</li>"
    if intervals:
        notes += "<li>Small figures: 95 % interval of the mean, by drawing cases anew (bootstrap).</li>"
    return f"<h2>{_e(name)}</h2><p>{about}{counts}</p>{_table(found, rows)}<ul>{notes}</ul>"


def _table(found: SetResult, rows: Sequence[Row]) -> str:
    methods = methods_in_order(found.methods)
    if not methods:
        return "<p>No method has a prediction for this set.</p>"
    papers = any(r.published for r in rows)
    head = "".join(_method_head(m) for m in methods) + ('<th scope="col" class="word">paper</th>' if papers else "")
    body = ""
    for row in rows:
        cells = "".join(_cell(row, m) for m in methods) + (
            f'<td class="word paper">{_e(row.paper)}</td>' if papers else ""
        )
        title = f'<abbr title="{_e(row.measure.definition)}">{_e(row.measure.label)}</abbr>'
        body += f'<tr><th scope="row">{title}</th>{_direction(row.measure)}{cells}</tr>'
    cells = "".join(f"<td>{_e(frames_compared(found, m))}</td>" for m in methods) + ("<td></td>" if papers else "")
    body += f'<tr><th scope="row">frames compared</th><td></td>{cells}</tr>'
    return (
        '<div class="wide"><table><thead><tr><th scope="col">measure</th>'
        f'<th scope="col"><span class="hidden">better</span></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _direction(measure: Measure) -> str:
    arrow = {"lower": "\u2193", "higher": "\u2191"}.get(measure.better)
    return (
        "<td></td>" if arrow is None else f'<td class="word">{arrow}<span class="hidden"> {measure.better}</span></td>'
    )


def _method_head(method: str) -> str:
    return f'<th scope="col"><small>{kind_of(method)}</small><br>{_e(method)}</th>'


def _cell(row: Row, method: str) -> str:
    value = row.values.get(method)
    if value is None:
        return '<td class="none">-</td>'
    text = row.measure.text(value.value)
    if method in row.best:
        text = f'<strong>{text}<span class="hidden"> (best)</span></strong>'
    return f'<td class="value">{text}{_interval(row.measure, value)}</td>'


def _interval(measure: Measure, value: Value) -> str:
    low, high = measure.text(value.low), measure.text(value.high)
    return "<small></small>" if low == "-" or low == high else f"<small>{low}\u2013{high}</small>"


def _figure(plot: Plot) -> str:
    label = f'<svg aria-label="{_e(plot.text)}"'
    return (
        f'<figure class="plot"><figcaption>{_e(plot.title)}</figcaption><div class="wide">'
        f"{plot.svg.replace('<svg', label, 1)}</div><p>{_e(plot.text)}</p></figure>"
    )


def _worst(measure: Measure, pictures: Mapping[str, Sequence[Picture]], problems: Sequence[str], styles: Styles) -> str:
    parts = []
    for method in (m for m in styles if pictures.get(m)):
        parts.append(f"<h4>{_e(method)}</h4>")
        parts.append(f'<div class="frames">{"".join(_picture(p) for p in pictures[method])}</div>')
    if not parts:
        return ""
    shown = {p.kind for group in pictures.values() for p in group}
    how = " ".join(text for kind, text in _HOW.items() if kind in shown)
    notes = "".join(f"<p>{_e(problem)}</p>" for problem in problems)
    return f"<h3>Worst frames by {_e(measure.title)}</h3><p>The truth is white. {how}</p>{notes}" + "".join(parts)


_HOW = {
    "picture and side": "Left the picture, where each method's figure stands as it places it itself, or at the true "
    "root where it gives no place; right both figures from the side, aligned as for the measure, the camera at the "
    "left, with lines between the same joints.",
    "views": "Both figures from the camera and from the side, aligned as for the measure; the grid is half a metre.",
    "picture": "Points as they were labelled and found.",
}


def _picture(picture: Picture) -> str:
    size = f'width="{picture.width_px}" height="{picture.height_px}"'
    return (
        f'<figure class="frame" style="width:{0.7 * picture.width_px:.0f}px"><img src="{picture.uri}" {size} '
        f'alt="{_e(picture.text)}"><figcaption>{_e(picture.caption)}</figcaption></figure>'
    )


def _methods(results: Results) -> str:
    rows = "".join(_variant(m, v) for m in methods_in_order(results.methods) for v in results.methods[m])
    return (
        '<section id="methods"><h2>Methods</h2><div class="wide"><table class="text"><thead><tr>'
        '<th scope="col">method</th><th scope="col">version</th><th scope="col">settings</th><th scope="col">cases</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _variant(method: str, variant: MethodVariant) -> str:
    settings = "<br>".join(f"{_e(k)} = {_e(v)}" for k, v in variant.settings.items()) or "none"
    return (
        f'<tr><th scope="row">{_e(method)}</th><td>{_e(variant.version)}</td><td>{settings}</td>'
        f"<td>{len(variant.cases)}</td></tr>"
    )


def _papers(rows: Mapping[str, Sequence[Row]]) -> str:
    measured = {r.measure.name for group in rows.values() for r in group}
    figures = [p for p in PUBLISHED if p.measure in measured]
    if not figures:
        return ""
    lines = "".join(_published(p) for p in figures)
    return (
        '<section id="papers"><h2>Figures of papers</h2><p>As their authors published them, on their data: a scale '
        'for ours, and no contest unless the set is the same.</p><div class="wide"><table class="text"><thead><tr>'
        '<th scope="col">measure</th><th scope="col">system</th><th scope="col">value</th><th scope="col">data</th>'
        f"</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def _published(figure: Published) -> str:
    measure = measure_named(figure.measure)
    return (
        f'<tr><th scope="row">{_e(measure.label)}</th><td>{_e(figure.system)}</td>'
        f"<td>{measure.text(figure.value)}</td><td>{_e(figure.data)}</td></tr>"
    )


def _definitions(rows: Mapping[str, Iterable[Row]]) -> str:
    measures = [measure_named(n) for n in in_order(r.measure.name for group in rows.values() for r in group)]
    better = {True: " Lower is better.", False: " Higher is better.", None: ""}
    entries = "".join(f"<dt>{_e(m.label)}</dt><dd>{_e(m.definition)}{better[m.lower_is_better]}</dd>" for m in measures)
    return f'<section id="measures"><h2>Measures</h2><dl>{entries}</dl></section>'


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")
