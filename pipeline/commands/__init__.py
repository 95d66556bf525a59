"""What commands other than `run` and `plan` do, each under its own name."""
