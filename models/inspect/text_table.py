"""Rows of text as a table with columns as wide as they must be."""

from collections.abc import Collection, Sequence


def format_table(rows: Sequence[Sequence[str]], numbers: Collection[int]) -> list[str]:
    """One line a row, the columns two spaces apart; those with the indices in `numbers` end flush.

    Every row has the same number of cells.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
