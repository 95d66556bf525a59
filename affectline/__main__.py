"""`python -m affectline`: the command without its installed script."""

from affectline_command import main

main()
