"""Nothing leaves this computer but what the user asked for: a capture whose every reach for the network is recorded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = r"""
import json, sys

seen = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = arguments[1]
        # a name of this computer's own (a socket file), or none (the socket is connected already)
        if isinstance(where, tuple):
            seen.append([event, str(where[0]), int(where[1])])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyname_ex"):
        seen.append([event, str(arguments[0]), 0])
    elif event in ("urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"):
        seen.append([event, str(arguments), 0])
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        seen.append([event, str(arguments[1]), 0])
    elif event == "webbrowser.open":
        seen.append([event, str(arguments[0]), 0])

sys.addaudithook(watch)
"""
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
CAPTURE = (
    WATCHED
    + r"""
from pathlib import Path

from hmcap.engines import available
from hmcap.realtime import capture_video
from hmcap.realtime.run import Parts
from test_cli import Landmarks, make_video, stand

folder = Path(sys.argv[1])
make_video(folder / "a.mp4", 12)
available()  # loads every inference library that is installed here
import matplotlib.pyplot, moderngl, scipy.optimize, viser  # noqa
result = capture_video(
    folder / "a.mp4", parts=Parts(Landmarks(), solve=stand), motion="solver", show=True,
    export=("bvh", "npz", "csv", "json", "glb"), overlay=folder / "o.mp4",
    viewer="127.0.0.1:0", websocket="127.0.0.1:0", vmc="127.0.0.1:39539",
)
(folder / "seen.json").write_text(json.dumps([len(result.files), seen]))
"""
)


def watched(script: str, folder: Path) -> list:
    """What a child that runs the script reached for; its own answer comes first."""
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=Path(__file__).parent, check=True, timeout=300,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads((folder / "seen.json").read_text())


@pytest.mark.slow
def test_a_capture_reaches_for_nothing_but_what_was_asked_for(tmp_path):
    files, seen = watched(CAPTURE, tmp_path)
    assert files == 6
    started = [command for event, command, _ in seen if event in STARTS]  # to ask this computer about itself
    assert not any("pip" in command or "curl" in command for command in started)
    reached = [entry for entry in seen if entry[0] not in STARTS]
    assert [entry for entry in reached if entry[1] not in ("127.0.0.1", "::1", "localhost")] == []
    assert ["socket.connect", "127.0.0.1", 39539] in seen, (
        "the receiver that was asked for was not seen: is it watched?"
    )


def test_the_watch_sees_what_reaches_out(tmp_path):
    _, seen = watched(
        WATCHED
        + r"""
import socket, urllib.request
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(("192.0.2.7", 9))
    s.sendto(b"", ("127.0.0.1", 9))
try:
    urllib.request.urlopen("http://127.0.0.1:9/x", timeout=0.01)
except OSError:
    pass
open(sys.argv[1] + "/seen.json", "w").write(json.dumps([0, seen]))
""",
        tmp_path,
    )
    assert {entry[0] for entry in seen} >= {"socket.connect", "urllib.Request", "socket.getaddrinfo"}
    assert ["socket.connect", "192.0.2.7", 9] in seen


def test_the_libraries_that_report_usage_are_told_not_to():
    code = (
        "import os, sys\n"
        "from hmcap.engines.openvino import import_openvino\n"
        "from hmcap.engines.ort import import_onnxruntime\n"
        "import_openvino(); import_onnxruntime()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "assert not [m for m in sys.modules if 'telemetry' in m], 'a reporter was loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, stdin=subprocess.DEVNULL)
