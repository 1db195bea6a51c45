"""Runs in the Python that has OpenSim: ``opensim_side.py motion MODEL MOT | markers TRC | solve MODEL TRC``, then the
file for the answer."""

import sys
from pathlib import Path

import numpy as np
import opensim

ROTATIONAL = 1
SOLVED_FRAMES = 10


def motion(model_file: str, mot_file: str) -> dict:
    """Positions of all bodies and markers in the ground frame, at each row of a motion."""
    model = opensim.Model(model_file)
    state = model.initSystem()
    table = opensim.TimeSeriesTable(mot_file)
    assert table.getTableMetaDataString("inDegrees") == "yes"
    coordinates = [model.getCoordinateSet().get(label) for label in table.getColumnLabels()]
    rotates = np.array([c.getMotionType() == ROTATIONAL for c in coordinates])
    values = table.getMatrix().to_numpy()
    values = np.where(rotates, np.radians(values), values)
    bodies = [model.getBodySet().get(i) for i in range(model.getBodySet().getSize())]
    markers = [model.getMarkerSet().get(i) for i in range(model.getMarkerSet().getSize())]
    bodies_m, markers_m = [], []
    for row in values:
        for coordinate, value in zip(coordinates, row.tolist(), strict=True):
            coordinate.setValue(state, value, False)
        model.realizePosition(state)
        bodies_m.append([b.getPositionInGround(state).to_numpy() for b in bodies])
        markers_m.append([m.getLocationInGround(state).to_numpy() for m in markers])
    return {
        "coordinates": model.getCoordinateSet().getSize(),
        "bodies": [b.getName() for b in bodies],
        "bodies_m": bodies_m,
        "markers": [m.getName() for m in markers],
        "markers_m": markers_m,
        "times_s": table.getIndependentColumn(),
    }


def markers(trc_file: str) -> dict:
    """Marker names, positions, times and unit as OpenSim reads them."""
    table = opensim.TimeSeriesTableVec3(trc_file)
    count = len(table.getColumnLabels())
    rows = [table.getRowAtIndex(t) for t in range(table.getNumRows())]
    return {
        "markers": table.getColumnLabels(),
        "markers_m": [[row.getElt(0, m).to_numpy() for m in range(count)] for row in rows],
        "times_s": table.getIndependentColumn(),
        "units": table.getTableMetaDataString("Units"),
    }


def solve(model_file: str, trc_file: str) -> dict:
    """Largest marker error in each of the first frames, by OpenSim's own inverse kinematics."""
    times_s = opensim.TimeSeriesTableVec3(trc_file).getIndependentColumn()
    tool = opensim.InverseKinematicsTool()
    model = opensim.Model(model_file)
    model.initSystem()
    tool.setName("solve")
    tool.setModel(model)
    for i in range(model.getMarkerSet().getSize()):
        task = opensim.IKMarkerTask()
        task.setName(model.getMarkerSet().get(i).getName())
        task.setWeight(1)
        tool.upd_IKTaskSet().cloneAndAppend(task)
    tool.setMarkerDataFileName(trc_file)
    tool.setStartTime(times_s[0])
    tool.setEndTime(times_s[SOLVED_FRAMES - 1])
    tool.setResultsDir(".")
    tool.set_report_errors(True)
    tool.setOutputMotionFileName("solved.mot")
    assert tool.run()
    text = Path("solve_ik_marker_errors.sto").read_text().partition("endheader")[2].split("\n")[2:]
    return {"error_m": [float(line.split()[3]) for line in text if line.strip()]}


opensim.Logger.setLevelString("warn")
*arguments, out = sys.argv[2:]
np.savez(out, **{"motion": motion, "markers": markers, "solve": solve}[sys.argv[1]](*arguments))
