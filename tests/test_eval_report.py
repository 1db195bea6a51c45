"""What an evaluation found: gathered, written, read, compared and shown."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_results import CAMERA, HOSTILE, made, one_value, shown, standing
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.metrics import METRICS
from hmcap.tools.evaluation.records import LIMBS, Case, Measured, Motion3D, Prediction
from hmcap.tools.evaluation.report.compare import compare, compare_results, print_comparison
from hmcap.tools.evaluation.report.published import PUBLISHED
from hmcap.tools.evaluation.report.results import make_results, read_json, write_json
from hmcap.tools.evaluation.report.results_file import to_text
from hmcap.tools.evaluation.report.table import print_tables
from hmcap.tools.evaluation.report.table_rows import kind_of, methods_in_order, set_notes, table_rows
from hmcap.tools.evaluation.sets.registry import SETS
from rich.console import Console


def test_the_mean_of_a_set_is_the_mean_over_all_its_frames() -> None:
    rng = np.random.default_rng(3)
    measured, cases, predictions = [], [], {}
    for name, frames in (("a", 3), ("b", 10), ("c", 40)):
        values = rng.uniform(10, 90, frames)
        cases.append(Case("s", name, 30.0, CAMERA, Motion3D(joint_names=LIMBS, joints_m=standing(frames, rng))))
        weights = {"rte_percent": {"a": 1.0, "b": 3.0, "c": 0.0}[name]}
        value = {"rte_percent": {"a": 2.0, "b": 6.0, "c": 100.0}[name]}
        measured.append(
            Measured("s", name, "m", frames, np.arange(frames), {"pa_mpjpe_mm": values}, {}, value, weights)
        )
        predictions["s", name, "m"] = Prediction("m", "1", {}, Motion3D())
    found = make_results(measured, cases, predictions).sets["s"].methods["m"].values
    every = np.concatenate([m.per_frame["pa_mpjpe_mm"] for m in measured])
    assert found["pa_mpjpe_mm"].value == pytest.approx(every.mean())
    assert found["pa_mpjpe_mm"].low <= found["pa_mpjpe_mm"].value <= found["pa_mpjpe_mm"].high
    assert found["pa_mpjpe_mm"].weight == 53
    assert found["rte_percent"].value == pytest.approx((2.0 + 3 * 6.0) / 4)


def test_the_order_of_the_records_changes_nothing() -> None:
    measured, cases, predictions = made()
    turned = make_results(measured[::-1], cases[::-1], dict(reversed(predictions.items())))
    assert to_text(turned) == to_text(make_results(measured, cases, predictions))


def test_a_file_reads_back_to_the_same_bytes(tmp_path) -> None:
    measured, cases, predictions = made(notes=HOSTILE + "\u2028 ü")
    file = tmp_path / "new" / "a.json"
    write_json(make_results(measured, cases, predictions), file)
    again = tmp_path / "b.json"
    write_json(read_json(file), again)
    assert file.read_bytes() == again.read_bytes()
    read = read_json(file).sets["beam"]
    assert read.frames == 80
    assert read.common_rows == 76
    assert np.isnan(read.methods["solver"].cases["cam00"].per_frame["mpjpe_mm"][0])
    assert read.notes == (HOSTILE + "\u2028 ü",)


def test_two_cases_give_no_interval() -> None:
    value = make_results(*made(cases=2)).sets["beam"].methods["solver"].values["mpjpe_mm"]
    assert np.isnan([value.low, value.high]).all()
    assert value.cases == 2


def test_predictions_made_in_two_ways_are_told_apart() -> None:
    measured, cases, predictions = made()
    key = "beam", "cam02", "solver"
    predictions[key] = Prediction("solver", "1.1", {"smooth": False}, predictions[key].motion)
    variants = make_results(measured, cases, predictions).methods["solver"]
    assert [(v.version, v.cases) for v in variants] == [
        ("1.0", ("beam/cam00", "beam/cam01", "beam/cam03")),
        ("1.1", ("beam/cam02",)),
    ]


def test_a_record_twice_is_refused() -> None:
    measured, cases, predictions = made()
    with pytest.raises(ValueError, match="twice"):
        make_results([*measured, measured[0]], cases, predictions)


def _broken(change) -> str:
    tree = json.loads(to_text(make_results(*made(frames=6))))
    change(tree)
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.update(schema="other"), "hmcap-evaluation"),
        (lambda t: t.update(schema_version=99), "99"),
        (lambda t: t.pop("sets"), '"sets"'),
        (lambda t: t["sets"]["beam"]["cases"].pop("cam01"), "cam01"),
        (lambda t: t["sets"]["beam"]["cases"]["cam01"].update(frames="6"), "'6'"),
        (lambda t: t["sets"]["beam"]["cases"]["cam01"].update(frames=7), "7 values"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"].update(rows=[3, 2]), "increasing"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"].update(rows=[0, 6]), "0 to 5"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"]["weights"].pop("mpjpe_mm"), "weight"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["values"]["mpjpe_mm"].update(value="x"), "'x'"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["values"]["mpjpe_mm"].update(value=10**400), "number"),
        (lambda t: t["methods"]["solver"][0]["settings"].update(smooth=[1]), "smooth"),
        (lambda t: t["methods"].update(solver={}), "list"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(change, expected: str, tmp_path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(_broken(change), encoding="utf-8")
    with pytest.raises(HmcapError) as caught:
        read_json(file)
    assert str(file) in str(caught.value)
    assert expected in str(caught.value)
    assert "hmcap eval" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"schema": NaN}', b"[]"])
def test_what_is_no_json_is_named(content: bytes, tmp_path) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    with pytest.raises(HmcapError, match=r"wrong\.json"):
        read_json(file)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(HmcapError, match=r"none\.json.*--out"):
        read_json(tmp_path / "none.json")


def test_the_table_reads_so() -> None:
    notes = "The truth is [b]triangulated[/b]\x1b[31m."
    assert shown(lambda console: print_tables(make_results(*made("3dpw", notes=notes)), console)) == TABLE


TABLE = """\
3dpw: 4 cases, 80 frames
↓ lower is better         ours        peer
↑ higher is better      solver   mediapipe
MPJPE (mm)          ↓    26.0*        52.0
Jitter (10 m/s³)    ↓     3.8*         7.5
Found (%)           ↑     95.0        95.0
frames compared          76/80       76/80
- The truth is [b]triangulated[/b]?[31m.
- Position errors are over those frames in which every method found the person.
- * is the best of the row.

"""


def test_papers_stand_beside_ours_with_their_data() -> None:
    own = shown(lambda c: print_tables(one_value("3dpw", "pa_mpjpe_mm", solver=60.04, mediapipe=60.01), c))
    assert "35.9 WHAM 3DPW" in own
    assert "another protocol" in own
    assert "*" not in own  # what prints alike is not better
    other = shown(lambda c: print_tables(one_value("beam", "rte_percent", solver=5.0), c))
    assert "1.30 PromptHMR-Vid EMDB-2" in other
    assert "scale" in other


def test_every_published_figure_belongs_to_a_measure_and_a_set() -> None:
    assert {p.measure for p in PUBLISHED} <= set(METRICS)
    assert {p.set_name for p in PUBLISHED} <= set(SETS)


def test_higher_is_better_where_the_measure_says_so() -> None:
    row = table_rows("s", one_value("s", "pck_body_5", solver=80.0, other=90.0).sets["s"])[0]
    assert row.best == {"other"}
    assert not table_rows("s", one_value("s", "unheard_of", solver=80.0, other=90.0).sets["s"])[0].best


def test_the_truth_competes_with_nobody() -> None:
    values = {"solver": 50.0, "mediapipe": 60.0, "truth": 0.0}
    assert table_rows("s", one_value("s", "mpjpe_mm", **values).sets["s"])[0].best == {"solver"}


def test_no_best_is_marked_between_different_frames() -> None:
    measured, cases, predictions = made()
    some = [replace(m, rows=m.rows[5:]) if m.method == "mediapipe" and m.case == "cam00" else m for m in measured]
    for group, marked in ((measured, True), (some, False)):
        results = make_results(group, cases, predictions)
        rows = table_rows("beam", results.sets["beam"])
        assert any(r.best for r in rows) == marked
        assert any("no best is marked" in note for note in set_notes(results, "beam", rows)) != marked


def test_ours_come_before_the_peers() -> None:
    assert methods_in_order(["truth", "zebra", "a", "networks", "mediapipe", "solver-fast", "solver"]) == [
        "solver",
        "solver-fast",
        "networks",
        "a",
        "mediapipe",
        "zebra",
        "truth",
    ]
    assert [kind_of(n) for n in ("solver-live", "solverless", "truth")] == ["ours", "peer", "check"]


def test_arrows_give_way_where_they_cannot_be_written() -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    print_tables(make_results(*made()), Console(file=narrow, width=100))
    narrow.seek(0)
    assert "MPJPE (mm)          v " in narrow.read()


def verdicts(comparison, method: str = "solver") -> dict[str, str]:
    return {c.measure.name: c.verdict for p in comparison.pairs if p.method == method for c in p.changes}


def test_a_comparison_tells_gains_from_regressions() -> None:
    base = make_results(*made())
    worse, better = (compare_results(base, make_results(*made(scale=s))) for s in (1.2, 0.8))
    assert verdicts(worse) == {"mpjpe_mm": "regression", "jitter_10m_s3": "regression", "detected_percent": "same"}
    assert verdicts(better) == {"mpjpe_mm": "gain", "jitter_10m_s3": "gain", "detected_percent": "same"}
    assert worse.verdict == "0 gains, 2 regressions (4 same)"
    assert better.verdict == "2 gains, 0 regressions (4 same)"
    assert [c.percent for c in worse.pairs[0].worst] == pytest.approx([20.0] * 5)
    assert not better.pairs[0].worst
    change = worse.pairs[0].changes[0]
    assert change.low <= change.b - change.a <= change.high


def test_falling_is_a_regression_where_higher_is_better() -> None:
    def results(shift: float):
        measured, cases, predictions = made()
        for m in measured:
            m.values["detected_percent"] = 90.0 + shift  # type: ignore[index]
        return make_results(measured, cases, predictions)

    assert verdicts(compare_results(results(0), results(-2)))["detected_percent"] == "regression"
    assert verdicts(compare_results(results(0), results(2)))["detected_percent"] == "gain"


def test_a_result_against_itself_has_no_change() -> None:
    base = make_results(*made())
    comparison = compare_results(base, base)
    assert comparison.verdict == "0 gains, 0 regressions (6 same)"
    assert comparison.notes == ()
    assert all(p.notes == () for p in comparison.pairs)


def test_what_chance_can_do_is_no_gain() -> None:
    base = make_results(*made())
    measured, cases, predictions = made()
    for k, m in enumerate(m for m in measured if m.method == "solver"):
        m.values["mpjpe_mm"] += (10.0, -12.0, 9.0, -11.0)[k]  # type: ignore[index]
    assert verdicts(compare_results(base, make_results(measured, cases, predictions)))["mpjpe_mm"] == "within chance"


def test_one_clip_is_judged_by_its_seconds() -> None:
    long, short = ({"frames": f, "cases": 1} for f in (150, 60))
    worse = [compare_results(make_results(*made(**n)), make_results(*made(scale=1.2, **n))) for n in (long, short)]
    assert verdicts(worse[0]) == {"mpjpe_mm": "regression", "jitter_10m_s3": "untested", "detected_percent": "same"}
    assert verdicts(worse[1])["mpjpe_mm"] == "untested"


def test_a_comparison_says_what_only_one_has_and_what_differs() -> None:
    measured, cases, predictions = made(cases=5)
    measured = [replace(m, rows=m.rows[:-3]) if m.case == "cam01" else m for m in measured if m.method == "solver"]
    predictions = {k: replace(p, version="2.0", settings={"smooth": False}) for k, p in predictions.items()}
    comparison = compare_results(make_results(*made()), make_results(measured, cases, predictions))
    text = shown(lambda console: print_comparison(comparison, console))
    for expected in (
        "Only in b: case cam04.",
        "Compared on different frames in cam01",
        "Only in a: beam: method mediapipe.",
        "solver: version 1.0 in a, 2.0 in b.",
        "solver: setting smooth is True in a, False in b.",
    ):
        assert expected in text
    assert text.splitlines()[-1] == comparison.verdict


def test_files_are_compared_by_their_names(tmp_path) -> None:
    for name, scale in (("a", 1.0), ("b", 0.5)):
        write_json(make_results(*made(scale=scale)), tmp_path / f"{name}.json")
    comparison = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert comparison.name_b == str(tmp_path / "b.json")
    assert comparison.verdict.startswith("2 gains")
    empty = compare_results(make_results([], [], {}), make_results(*made()))
    assert empty.verdict.startswith("Nothing to compare")
