"""Real engines on several hosts of this machine: Flink, Spark, Prism; run with `pytest -m cluster`."""
