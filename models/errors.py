"""Errors that reach the user: one paragraph saying what was expected, what was found and what to type next."""


class HmcapError(Exception):
    """A problem with the input or the machine; the command line prints it and exits with ``exit_code``."""

    exit_code = 1


class UsageError(HmcapError):
    """An option that cannot be obeyed as written (exit code 2)."""

    exit_code = 2
