"""Which kinds of file are opened as footage.

The library behind the sources knows some 370, among them lists that name other files: one called ``dance.mp4`` would
make it read whatever lies beside it, or anywhere. Files are opened with this list; addresses on the network, whose
playlists are how streams are published, with a list of protocols instead, none of which reads this computer's files.
"""

from typing import Any

_CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv", "ogg", "mxf", "nut", "dv", "wtv", "rm", "gxf", "nsv",
    "swf", "r3d", "ivf", "gif", "apng", "yuv4mpegpipe", "mjpeg", "mpjpeg", "smjpeg", "h261", "h263", "h264", "hevc",
    "vvc", "av1", "obu", "m4v", "mpegvideo", "vc1", "cavsvideo", "avs2", "avs3", "dirac", "evc", "jpeg_pipe",
    "png_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "jpegxl_anim", "image2",
    "wav", "w64", "mp3", "aac", "flac", "aiff", "amr", "caf",  # so that it can be told that they hold sound alone
)  # fmt: skip
FILE_OPTIONS: dict[str, str] = {
    "protocol_whitelist": "file", "format_whitelist": ",".join(_CONTAINERS),
    "pattern_type": "none",  # a picture called a%d.jpg is that one, and none of its neighbours
}  # fmt: skip
"""For ``av.open`` of a file on disk: containers and bare streams of pictures, each whole in its one file."""


def file_options() -> dict[str, Any]:
    """A copy, since the library takes out of a dictionary what it has used."""
    return dict(FILE_OPTIONS)
