"""The whole pipeline on one page, the ways to run it, and the command line.

Private to affectline.
"""
