"""The tables on disk: their layout, one video's rows of each, and what is written when."""
