"""The results in the terminal: for every set a table of ours | peer | paper."""

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ....realtime.progress import printable
from .result_records import Results
from .table_rows import Measure, Row, frames_compared, kind_of, methods_in_order, set_notes, table_rows


def print_tables(results: Results, console: Console) -> None:
    """Print one block for every set, readable at 100 columns. The best of a row is bold, or has a star behind it
    where the output is no terminal."""
    for name in results.sets:
        console.print(set_table(results, name, stars=not console.is_terminal, arrows=arrows_for(console)))


def arrows_for(console: Console) -> tuple[str, str]:
    """What says "lower is better" and "higher is better", in characters that the console can write."""
    arrows = "\N{DOWNWARDS ARROW}", "\N{UPWARDS ARROW}"
    try:
        "".join(arrows).encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "v", "^"
    return arrows


def direction(measure: Measure, arrows: tuple[str, str]) -> str:
    """The arrow of a measure; empty where nothing is better."""
    return {True: arrows[0], False: arrows[1], None: ""}[measure.lower_is_better]


def set_table(results: Results, set_name: str, *, stars: bool, arrows: tuple[str, str]) -> Group:
    """Title, table and notes of one set. ``stars``: mark the best of a row by a star and not by bold type."""
    found = results.sets[set_name]
    rows = table_rows(set_name, found)
    methods = methods_in_order(found.methods)
    title = Text(
        f"{printable(set_name)}: {_counted(len(found.cases), 'case')}, {_counted(found.frames, 'frame')}", "bold"
    )
    if not methods:
        return Group(title, Text("No method has a prediction for this set.\n"))
    with_papers = any(row.published for row in rows)
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="", padding=(0, 2, 0, 0))
    table.add_column(Text(f"{arrows[0]} lower is better\n{arrows[1]} higher is better", "dim"))
    table.add_column("")
    for method in methods:
        table.add_column(_heading(kind_of(method), method, stars), justify="right", no_wrap=True)
    if with_papers:
        table.add_column(_heading("paper", "", False), style="dim")
    for row in rows:
        cells = [_cell(row, m, stars) for m in methods]
        paper = [Text(row.paper)] if with_papers else []
        table.add_row(Text(row.measure.label), direction(row.measure, arrows), *cells, *paper)
    space = " " if stars else ""
    compared = (Text(frames_compared(found, m).replace(" of ", "/") + space) for m in methods)
    table.add_row(Text("frames compared"), "", *compared)
    notes = [Text(f"- {printable(note)}", "dim") for note in set_notes(results, set_name, rows)]
    if stars and any(row.best for row in rows):
        notes.append(Text("- * is the best of the row."))
    return Group(title, table, *notes, Text(""))


def _cell(row: Row, method: str, stars: bool) -> Text:
    value = row.values.get(method)
    best = method in row.best
    text = "-" if value is None else row.measure.text(value.value)
    if stars:
        return Text(text + ("*" if best else " "))
    return Text(text, "bold" if best else "")


def _heading(kind: str, method: str, stars: bool) -> Text:
    # A variant's name goes below the method's, so that the column stays narrow.
    lines = [kind, *printable(method).replace("-", "\n-").split("\n")]
    return Text("\n".join(line + (" " if stars else "") for line in lines), "bold")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
