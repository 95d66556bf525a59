"""The `affectline` command."""
