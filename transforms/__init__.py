"""The steps of the pipeline: plain functions and the thin Beam wiring around them."""
