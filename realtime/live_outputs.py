"""What shows or sends the motion while it is captured or played."""

from collections.abc import Iterator

from ..models.body import BodyModel
from .addresses import DEFAULT_VIEWER, DEFAULT_VMC, DEFAULT_WEBSOCKET, parse_address
from .options import CaptureOptions
from .watching import LiveOutput, release_all


def open_live_outputs(choices: CaptureOptions, body: BodyModel) -> list[LiveOutput]:
    """The live outputs that were asked for; empty where none was. Raises HmcapError where one cannot be opened; the
    others are released then."""
    outputs: list[LiveOutput] = []
    try:
        outputs.extend(_each(choices, body))  # keeps those that came before an error
    except BaseException:
        release_all(outputs)
        raise
    return outputs


def _each(choices: CaptureOptions, body: BodyModel) -> Iterator[LiveOutput]:
    if choices.vmc is not None:
        from .streams.vmc import VmcStream

        yield VmcStream(parse_address(choices.vmc, "--vmc", DEFAULT_VMC), body, face=choices.vmc_face)
    if choices.websocket is not None:
        from .streams.websocket import WebSocketStream

        address = parse_address(choices.websocket, "--websocket", DEFAULT_WEBSOCKET, any_port=True)
        yield WebSocketStream(address, body, choices.websocket_token)
    if choices.virtual_camera is not None:
        from .streams.virtual_camera import VirtualCamera

        yield VirtualCamera(choices.virtual_camera, body)
    if choices.viewer is not None:
        from .viewer import ViewerSink

        address = parse_address(choices.viewer, "--viewer", DEFAULT_VIEWER, any_port=True)
        options, token = choices.export_options(), choices.viewer_token
        yield ViewerSink(body, address.host, address.port, options=options, token=token)
