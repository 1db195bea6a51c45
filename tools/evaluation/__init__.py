"""Evaluation: sets with truth, methods, measures, and the report on them."""
