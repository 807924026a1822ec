"""The pages of docs/ name commands that there are, and each page is in the list of all pages."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from adapters.cli.commands import cli
from tests.contract.running import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


def commands(page):
    found = re.findall(
        r"^ *(tillproof [^\n]*)$", "\n".join(re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)), re.MULTILINE
    )
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_with_options_that_it_has(page):
    for words in commands(page):
        command, rest = cli, words[1:]
        while isinstance(command, click.Group):
            name, *rest = ["show", *rest] if command.name == "takings" and not {*rest} & {*command.commands} else rest
            assert name in command.commands, " ".join(words)
            command = command.commands[name]
        command.make_parser(click.Context(command)).parse_args(list(rest))


def test_every_page_is_in_the_list_of_all_pages():
    listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", (DOCS / "README.md").read_text("utf-8")))
    assert listed == set(PAGES) - {"README.md"}


def test_the_list_has_all_four_kinds():
    kinds = set(re.findall(r"^\| (\w[\w-]*) \|", (DOCS / "README.md").read_text("utf-8"), re.MULTILINE))
    assert kinds >= {"tutorial", "how-to", "reference", "explanation"}
