"""The report: what was measured, gathered, written, read again, compared, and shown in the terminal and as a page."""
