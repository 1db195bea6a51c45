"""What shows or sends the motion while it is captured: each is a sink of the capture loop."""

from ..models.body import BodyModel
from .loop import Sink
from .options import CaptureOptions


def open_live_outputs(choices: CaptureOptions, body: BodyModel) -> list[Sink]:
    """The live outputs that were asked for; empty where none was. Raises HmcapError where one cannot be opened."""
    sinks: list[Sink] = []
    if choices.viewer is not None:
        from .viewer import ViewerSink, parse_address

        address = parse_address(choices.viewer)
        sinks.append(ViewerSink(body, address.host, address.port, options=choices.export_options()))
    return sinks
