"""From a file to table rows: plain functions, and the Beam steps that wire them.

Private to affectline.
"""
