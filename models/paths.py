"""Paths as a user types them."""

from pathlib import Path

from .errors import HmcapError


def user_path(name: str | Path) -> Path:
    """The path that ``name`` stands for, a leading ``~`` replaced; whether anything is there is another question.

    Raises HmcapError where there can be no such path, or this user may not look: a home folder of nobody, a name longer
    than the file system takes, a character that it does not know, a folder without permission.
    """
    path = Path(name)
    try:
        path = path.expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except RuntimeError as error:
        raise HmcapError(
            f"Expected a path; {_shown(name)} begins with the home folder of a user whom this computer does not know. "
            f"Write the whole path, or ./ before a name that begins with ~."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name holds a character that no file name can hold"
        raise HmcapError(
            f"Expected a path that can be used; the system said of {_shown(name)}: {reason}. Check the name, and that "
            "you may read its folder."
        ) from error
    return path


def _shown(name: str | Path) -> str:
    text = str(name)
    return text if len(text) <= 120 else f"{text[:60]}...{text[-40:]} ({len(text)} characters)"
