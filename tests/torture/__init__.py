"""Inputs by the thousand, damaged in every way: minutes to hours; run with `pytest -m torture`."""
