"""`python -m pipeline.cli`: the command without its installed script."""

from pipeline.cli.main import main

main()
