"""`affectline report`: pages for people, and the same numbers for machines."""
