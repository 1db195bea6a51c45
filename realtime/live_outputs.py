"""What shows or sends the motion while it is captured: each is a sink of the capture loop."""

from ..models.body import BodyModel
from .addresses import DEFAULT_VIEWER, DEFAULT_VMC, DEFAULT_WEBSOCKET, parse_address
from .loop import Sink
from .options import CaptureOptions


def open_live_outputs(choices: CaptureOptions, body: BodyModel) -> list[Sink]:
    """The live outputs that were asked for; empty where none was. Raises HmcapError where one cannot be opened."""
    sinks: list[Sink] = []
    if choices.vmc is not None:
        from .streams.vmc import VmcStream

        sinks.append(VmcStream(parse_address(choices.vmc, "--vmc", DEFAULT_VMC), body, face=choices.vmc_face))
    if choices.websocket is not None:
        from .streams.websocket import WebSocketStream

        address = parse_address(choices.websocket, "--websocket", DEFAULT_WEBSOCKET, any_port=True)
        sinks.append(WebSocketStream(address, body, choices.websocket_token))
    if choices.virtual_camera is not None:
        from .streams.virtual_camera import VirtualCamera

        sinks.append(VirtualCamera(choices.virtual_camera, body))
    if choices.viewer is not None:
        from .viewer import ViewerSink

        address = parse_address(choices.viewer, "--viewer", DEFAULT_VIEWER, any_port=True)
        sinks.append(ViewerSink(body, address.host, address.port, options=choices.export_options()))
    return sinks
