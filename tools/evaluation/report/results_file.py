"""The JSON file of an evaluation.

The file is UTF-8 JSON with sorted keys and no time stamps, so that two runs with the same numbers give the same bytes.
Layout, version 1 (``NaN`` is ``null``; numbers carry the shortest digits that read back the same)::

    {"schema": "hmcap-evaluation", "schema_version": 1, "hmcap_version": str,
     "methods": {METHOD: [{"version": str, "settings": {NAME: str | number | bool}, "cases": ["SET/CASE", ...]}, ...]},
     "sets": {SET: {
       "cases": {CASE: {"fps": number, "frames": int, "compared": [JOINT, ...], "root": [JOINT, ...], "notes": str}},
       "methods": {METHOD: {
         "values": {MEASURE: {"value", "low", "high": number, "cases": int, "weight": number}},
         "joints": {MEASURE: {JOINT: number}},
         "cases": {CASE: {"rows": [int, ...], "values": {MEASURE: number}, "weights": {MEASURE: number},
                          "frames": {MEASURE: [number, ...]}, "joints": {MEASURE: {JOINT: number}}}}}}}}}
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from ....models.errors import HmcapError
from ....realtime.exporters.files import atomic_path
from .result_records import CaseInfo, CaseResult, MethodResult, MethodVariant, Results, SetResult, Value

SCHEMA = "hmcap-evaluation"
SCHEMA_VERSION = 1

_T = TypeVar("_T")


def write_json(results: Results, path: Path) -> None:
    """Write the file; the same results give the same bytes on every machine.

    Raises:
        HmcapError: the file cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(to_text(results).encode())


def read_json(path: Path) -> Results:
    """Read a file of :func:`write_json`.

    Raises:
        HmcapError: there is no such file, or it is not laid out as it should be; says where.
    """
    try:
        text = Path(path).read_bytes().decode()
    except OSError as err:
        raise HmcapError(
            f"Expected the results of an evaluation in {path}, but it cannot be read ({err.strerror or err}). "
            "Name the results.json that hmcap eval wrote with --out FOLDER."
        ) from err
    except UnicodeDecodeError as err:
        raise _wrong(path, "UTF-8 text", f"other bytes ({err.reason} at {err.start})") from err
    return from_text(text, path)


def to_text(results: Results) -> str:
    """The text of the file."""
    return _dump(_as_tree(results), 0) + "\n"


def from_text(text: str, path: Path) -> Results:
    """Inverse of :func:`to_text`; ``path`` is for messages.

    Raises:
        HmcapError: the text is not laid out as it should be.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"the number {word}")

    try:
        tree = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as err:
        raise _wrong(path, "JSON", str(err)) from err
    read = _Reader(path)
    top = read.map(tree, "the file")
    if top.get("schema") != SCHEMA:
        raise _wrong(path, f'"schema": "{SCHEMA}"', _shown(top.get("schema")))
    if top.get("schema_version") != SCHEMA_VERSION:
        found = _shown(top.get("schema_version"))
        raise _wrong(path, f"schema_version {SCHEMA_VERSION}, the one this hmcap knows", found)
    return Results(
        read.text(top, "hmcap_version", "the file"),
        read.maps(top, "methods", "the file", read.variants),
        read.maps(top, "sets", "the file", read.set_result),
    )


class _Reader:
    """Checks types on the way from parsed JSON to records; ``where`` is the place in the file, for messages."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set_result(self, value: Any, where: str) -> SetResult:
        tree = self.map(value, where)
        cases = self.maps(tree, "cases", where, self.case_info)
        methods = self.maps(tree, "methods", where, self.method_result)
        for name, method in methods.items():
            for case, result in method.cases.items():
                self._check_rows(cases.get(case), result, f"{where}.methods.{name}.cases.{case}")
        return SetResult(cases, methods)

    def _check_rows(self, info: CaseInfo | None, result: CaseResult, where: str) -> None:
        if info is None:
            raise _wrong(self._path, f"the case of {where} in the set's own cases", "none")
        wrong = {k: len(v) for k, v in result.per_frame.items() if len(v) != info.frames}
        if wrong:
            name, length = next(iter(wrong.items()))
            raise _wrong(self._path, f"{info.frames} values in {where}.frames.{name}", str(length))
        rows = result.rows
        if len(rows) and (rows.min() < 0 or rows.max() >= info.frames or (np.diff(rows) <= 0).any()):
            raise _wrong(self._path, f"increasing rows from 0 to {info.frames - 1} in {where}", "others")
        if set(result.weights) != set(result.values):
            raise _wrong(self._path, f"a weight for every value in {where}", "other names")

    def case_info(self, value: Any, where: str) -> CaseInfo:
        tree = self.map(value, where)
        return CaseInfo(
            self.number(self.get(tree, "fps", where), f"{where}.fps"),
            self.count(tree, "frames", where),
            self.names(tree, "compared", where),
            self.names(tree, "root", where),
            self.text(tree, "notes", where),
        )

    def method_result(self, value: Any, where: str) -> MethodResult:
        tree = self.map(value, where)
        return MethodResult(
            self.maps(tree, "values", where, self.value),
            self.maps(tree, "joints", where, self.numbers),
            self.maps(tree, "cases", where, self.case_result),
        )

    def value(self, value: Any, where: str) -> Value:
        tree = self.map(value, where)
        mean, low, high, weight = (
            self.number(self.get(tree, k, where), f"{where}.{k}") for k in ("value", "low", "high", "weight")
        )
        return Value(mean, low, high, self.count(tree, "cases", where), weight)

    def case_result(self, value: Any, where: str) -> CaseResult:
        tree = self.map(value, where)
        rows = self.list(self.get(tree, "rows", where), f"{where}.rows")
        if any(type(r) is not int or abs(r) > 2**40 for r in rows):
            raise _wrong(self._path, f"whole numbers in {where}.rows", "something else")
        return CaseResult(
            np.array(rows, dtype=np.int64),
            self.numbers(self.get(tree, "values", where), f"{where}.values"),
            self.numbers(self.get(tree, "weights", where), f"{where}.weights"),
            self.maps(tree, "frames", where, self.array),
            self.maps(tree, "joints", where, self.numbers),
        )

    def variants(self, value: Any, where: str) -> tuple[MethodVariant, ...]:
        return tuple(self.variant(v, f"{where}[{i}]") for i, v in enumerate(self.list(value, where)))

    def variant(self, value: Any, where: str) -> MethodVariant:
        tree = self.map(value, where)
        settings = self.map(self.get(tree, "settings", where), f"{where}.settings")
        wrong = [k for k, v in settings.items() if not isinstance(v, (str, int, float, bool))]
        if wrong:
            raise _wrong(
                self._path, f"text, a number or a truth value in {where}.settings.{wrong[0]}", "something else"
            )
        return MethodVariant(
            self.text(tree, "version", where), dict(sorted(settings.items())), self.names(tree, "cases", where)
        )

    def numbers(self, value: Any, where: str) -> dict[str, float]:
        tree = self.map(value, where)
        return {k: self.number(tree[k], f"{where}.{k}") for k in sorted(tree)}

    def array(self, value: Any, where: str) -> np.ndarray:
        return np.array([self.number(v, where) for v in self.list(value, where)], dtype=np.float64)

    def number(self, value: Any, where: str) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value) if type(value) in (int, float) else math.inf
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise _wrong(self._path, f"a number or null in {where}", _shown(value))
        return number

    def count(self, tree: Mapping[str, Any], key: str, where: str) -> int:
        value = self.get(tree, key, where)
        if type(value) is not int or not 0 <= value < 2**40:
            raise _wrong(self._path, f"a count in {where}.{key}", _shown(value))
        return value

    def names(self, tree: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        names = self.list(self.get(tree, key, where), f"{where}.{key}")
        if not all(isinstance(n, str) for n in names):
            raise _wrong(self._path, f"names in {where}.{key}", "something else")
        return tuple(names)

    def text(self, tree: Mapping[str, Any], key: str, where: str) -> str:
        value = self.get(tree, key, where)
        if not isinstance(value, str):
            raise _wrong(self._path, f"text in {where}.{key}", _shown(value))
        return value

    def maps(self, tree: Mapping[str, Any], key: str, where: str, make: Callable[[Any, str], _T]) -> dict[str, _T]:
        inner = self.map(self.get(tree, key, where), f"{where}.{key}")
        return {k: make(inner[k], f"{where}.{key}.{k}") for k in sorted(inner)}

    def get(self, tree: Mapping[str, Any], key: str, where: str) -> Any:
        if key not in tree:
            raise _wrong(self._path, f'"{key}" in {where}', "none")
        return tree[key]

    def map(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(self._path, f"an object for {where}", _shown(value))
        return value

    def list(self, value: Any, where: str) -> "list[Any]":
        if not isinstance(value, list):
            raise _wrong(self._path, f"a list for {where}", _shown(value))
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(path: Path, expected: str, found: str) -> HmcapError:
    return HmcapError(
        f"Expected the results of an evaluation in {path}: {expected}; found {found}. Name a results.json of this "
        "version's hmcap eval --out FOLDER, or run the evaluation again."
    )


def _as_tree(results: Results) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "hmcap_version": results.hmcap_version,
        "methods": {
            name: [{"version": v.version, "settings": dict(v.settings), "cases": list(v.cases)} for v in variants]
            for name, variants in results.methods.items()
        },
        "sets": {
            name: {
                "cases": {
                    case: {
                        "fps": info.fps,
                        "frames": info.frames,
                        "compared": list(info.compared),
                        "root": list(info.root),
                        "notes": info.notes,
                    }
                    for case, info in one.cases.items()
                },
                "methods": {m: _method_tree(r) for m, r in one.methods.items()},
            }
            for name, one in results.sets.items()
        },
    }


def _method_tree(result: MethodResult) -> dict[str, Any]:
    return {
        "values": {
            k: {"value": v.value, "low": v.low, "high": v.high, "cases": v.cases, "weight": v.weight}
            for k, v in result.values.items()
        },
        "joints": {k: dict(v) for k, v in result.per_joint.items()},
        "cases": {
            case: {
                "rows": c.rows.tolist(),
                "values": dict(c.values),
                "weights": dict(c.weights),
                "frames": {k: v.tolist() for k, v in c.per_frame.items()},
                "joints": {k: dict(v) for k, v in c.per_joint.items()},
            }
            for case, c in result.cases.items()
        },
    }


def _dump(value: Any, depth: int) -> str:
    """JSON with one entry of an object to a line and every list of plain values on one, to be read and compared."""
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        entries = (f"{json.dumps(k)}: {_dump(value[k], depth + 1)}" for k in sorted(value))
        return "{" + inner + ("," + inner).join(entries) + outer + "}"
    if isinstance(value, list):
        if any(isinstance(v, (Mapping, list)) for v in value):
            return "[" + inner + ("," + inner).join(_dump(v, depth + 1) for v in value) + outer + "]"
        # In one call, because a set has millions of these.
        return json.dumps([None if isinstance(v, float) and not math.isfinite(v) else v for v in value])
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, allow_nan=False)
