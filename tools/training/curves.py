"""Curves of a run: ``curves.csv``, one row a measurement, and a picture of it."""

import csv
from pathlib import Path

from ...models.errors import HmcapError

_PANELS = (
    ("mm", ("mpjpe_mm", "pa_mm", "hand_pa_mm")),
    ("degrees", ("angle_deg",)),
    ("m/s²", ("accel_m_s2",)),
    ("per cent", ("depth_percent",)),
    ("mm, rendered clips", ("rendered_mpjpe_mm", "rendered_pa_mm", "rendered_hand_pa_mm")),
)


def add_row(path: Path, row: dict[str, float]) -> None:
    """Append a row; what the file has no column for begins a new header line."""
    names = list(row)
    known: list[str] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.reader(file):
                if line and line[0] == "stage":
                    known = line
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if known != names:
            writer.writerow(names)
        writer.writerow([f"{v:.6g}" for v in row.values()])


def read_rows(path: Path) -> list[dict[str, float]]:
    """All rows of a file, each under the header that stands above it."""
    rows: list[dict[str, float]] = []
    names: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.reader(file):
            if line and line[0] == "stage":
                names = line
            elif line:
                rows.append({k: float(v) for k, v in zip(names, line, strict=True)})
    return rows


def draw(path: Path, picture: Path) -> None:
    """Draw the curves as PNG: measures over frames seen, solid with the longest look-ahead, dashed without any."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise HmcapError("Drawing curves needs matplotlib. Install it with: pip install 'hmcap[train]'") from error
    rows = read_rows(path)
    panels = [(unit, [k for n in names for k in rows[-1] if k.startswith(f"{n}@")]) for unit, names in _PANELS]
    panels = [(unit, keys) for unit, keys in panels if keys]
    figure = Figure(figsize=(4 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (unit, keys) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), i)
        for key in keys:
            points = [(r["frames"] * 1e-6, r[key]) for r in rows if key in r]
            style = "--" if key.endswith("@0") else "-"
            axes.plot(*zip(*points, strict=True), style, label=key, linewidth=1.2)
        axes.set_xlabel("million frames")
        axes.set_ylabel(unit)
        axes.legend(fontsize=6)
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)
