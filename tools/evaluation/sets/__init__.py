"""Sets with truth: one small loader each, all yielding :class:`hmcap.tools.evaluation.records.Case`."""
