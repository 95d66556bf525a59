"""What MkDocs does beyond its plugins: the README as first page, and tables made of the code."""

import re
from pathlib import Path
from typing import Any, Final

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from models.inspect.data_sets import LEARNED_FROM
from pipeline.cli.command import commands
from pipeline.cli.main import main
from schemas.columns import column_tables
from schemas.tables import SCHEMA_VERSION

_ROOT: Final = Path(__file__).resolve().parent.parent
_OUTSIDE: Final = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page."""
    files.append(File.generated(config, "index.md", content=_readme()))
    return files


def _readme() -> str:
    """The README, with links as they are from here."""
    return re.sub(r"\((?:docs/)([^)]+)\)", r"(\1)", (_ROOT / "README.md").read_text(encoding="utf-8"))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the generated tables, and name files of the repository, which the site does not hold."""
    if "<!-- columns -->" in markdown:
        markdown = markdown.replace("<!-- columns -->", _columns())
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", _commands())
    if "<!-- data sets -->" in markdown:
        markdown = markdown.replace("<!-- data sets -->", _data_sets())
    return _OUTSIDE.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    return text if path in text else f"{text} (`{path}`)"


def _columns() -> str:
    """Every column of every table."""
    lines = [f"These are the tables of version {SCHEMA_VERSION} (`schema_version` in `videos`)."]
    for table, columns in column_tables().items():
        lines += [
            "",
            f"## `{table}`",
            "",
            "| column | type | what | unit | range | null |",
            "|---|---|---|---|---|---|",
        ]
        for name, kind, column in columns:
            cells = (f"`{name}`", _type(kind), *column)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _type(arrow: str) -> str:
    """Arrow's name of a type, without what only Arrow's own code needs."""
    return "dictionary of strings" if arrow.startswith("dictionary") else arrow


def _commands() -> str:
    """What `--help` says of every command, on 80 columns."""
    lines = []
    for words, command in {"": main, **commands(main)}.items():
        at = click.Context(main, info_name="affectline", terminal_width=80, **main.context_settings)
        for word in words.split():
            assert isinstance(at.command, click.Group)
            at = click.Context(at.command.commands[word], at, word)
        lines += [f"## affectline {words}".rstrip(), "", "```text", command.get_help(at), "```", ""]
    return "\n".join(lines)


def _data_sets() -> str:
    """What the shipped weights learned from, and the terms of each."""
    lines = ["| weights | learned from |", "|---|---|"]
    lines += [
        f"| `{name}` | {', '.join(each.name for each in sets)} |" for name, sets in LEARNED_FROM.items()
    ]
    lines += ["", "| data set | what its makers say |", "|---|---|"]
    sets = dict.fromkeys(each for several in LEARNED_FROM.values() for each in several)
    lines += [f"| {each.name} | {each.terms} |" for each in sets]
    return "\n".join(lines)
