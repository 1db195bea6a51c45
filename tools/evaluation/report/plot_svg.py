"""Drawing with matplotlib for a page: inline SVG without dates, chance names, fixed colours or fixed size."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from ....models.errors import HmcapError
from .table_rows import methods_in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008)."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))
INK = "#010203"
"""Stands for the colour of the page's text and is replaced by it."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for the page."""

    title: str
    text: str
    """What can be seen, for those who cannot see it, and how to read it."""
    svg: str


Styles = Mapping[str, tuple[str, object]]
"""Colour and dashes of each method, the same in every plot of a page."""


def method_styles(methods: Sequence[str]) -> dict[str, tuple[str, object]]:
    """A style for each method, by its place in the order of tables."""
    return dict(zip(methods_in_order(methods), cycle(zip(COLOURS, DASHES, strict=True)), strict=False))


def need_matplotlib() -> None:
    """Raises HmcapError where matplotlib is not installed."""
    try:
        import matplotlib.backends.backend_svg  # noqa: F401
    except ImportError as err:
        raise HmcapError(
            f"Expected matplotlib for plots, but it cannot be loaded ({err}). "
            "Type: pip install 'hmcap[eval]'. The table and the JSON file need none."
        ) from err


def to_svg(key: str, size_inch: tuple[float, float], draw: Callable[["Figure"], None]) -> str:
    """What ``draw`` puts on a figure, as SVG to be put into a page; ``key`` tells its parts from other plots'."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.hashsalt": key,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        **{f"{k}.color": INK for k in ("text", "xtick", "ytick")},
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": INK,
        "grid.alpha": 0.15,
        "path.simplify_threshold": 0.5,
    }
    # The user's own settings of matplotlib must not change the page.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        figure = Figure(figsize=size_inch, layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for ax in figure.axes:
            ax.patch.set_alpha(0)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return "".join(_for_page(text.getvalue(), key))


def _for_page(svg: str, key: str) -> Iterator[str]:
    """The SVG element alone, sized by the page, in the page's colour, with no name that another plot has too."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)  # the page has it once
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    used = {*re.findall(r"url\(#([^)]+)\)", svg), *re.findall(r'href="#([^"]+)"', svg)}
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    prefix = re.sub(r"\W", lambda m: f"-{ord(m[0]):x}-", key)
    svg = re.sub(r'(url\(#| id="|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r' d="([^"]+)"', lambda m: f' d="{_rounded(m[1])}"', svg)
    head, body = svg.split(">", 1)
    width = re.search(r' width="([\d.]+)pt"', head)
    wide = f"{float(width[1]):.0f}" if width else "576"
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    yield head.replace("<svg", f'<svg style="width:{wide}pt" role="img"', 1) + ">"
    yield body.replace(INK, "currentColor")


def _rounded(path: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), path)
