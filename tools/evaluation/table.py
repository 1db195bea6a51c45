"""The results in the terminal: for every set a table of ours | peer | paper."""

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .result_records import Results
from .rows import Row, frames_compared, is_ours, methods_in_order, set_notes, table_rows


def print_tables(results: Results, console: Console) -> None:
    """Print one block for every set, readable at 100 columns. The best of a row is bold, or has a star behind it
    where the output is no terminal."""
    for name in results.sets:
        console.print(set_table(results, name, stars=not console.is_terminal))


def set_table(results: Results, set_name: str, *, stars: bool = False) -> Group:
    """Title, table and notes of one set. ``stars``: mark the best of a row by a star and not by bold type."""
    found = results.sets[set_name]
    rows = table_rows(set_name, found)
    methods = methods_in_order(found.methods)
    title = Text(f"{plain(set_name)}: {_counted(len(found.cases), 'case')}, {_counted(found.frames, 'frame')}", "bold")
    if not methods:
        return Group(title, Text("No method has a prediction for this set.\n"))
    with_papers = any(row.published for row in rows)
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("better", style="dim")
    for method in methods:
        table.add_column(_heading("ours" if is_ours(method) else "peer", method), justify="right")
    if with_papers:
        table.add_column(_heading("paper", ""), style="dim")
    for row in rows:
        cells = [_cell(row, m, stars) for m in methods]
        table.add_row(
            Text(row.measure.label), Text(row.measure.better), *cells, *([Text(row.paper)] if with_papers else [])
        )
    space = " " if stars else ""
    table.add_row(Text("frames compared"), "", *(Text(frames_compared(found, m) + space) for m in methods))
    notes = [Text(f"- {plain(note)}", style="dim") for note in set_notes(results, set_name, rows)]
    return Group(title, table, *notes, Text(""))


def plain(text: str) -> str:
    """The text with everything replaced that would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cell(row: Row, method: str, stars: bool) -> Text:
    value = row.values.get(method)
    best = method in row.best
    text = "-" if value is None else row.measure.text(value.value)
    if stars:
        return Text(text + ("*" if best else " "))
    return Text(text, "bold" if best else "")


def _heading(kind: str, method: str) -> Text:
    return Text(f"{kind}\n{plain(method)}", "bold")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
