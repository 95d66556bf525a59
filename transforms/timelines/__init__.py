"""One video's rows after grouping: gathered, tracked, smoothed, tabulated. Pure functions."""
