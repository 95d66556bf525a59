"""What `affectline` gives to programs and notebooks."""
