"""Every code block of the documentation runs, or says above itself why it does not.

Blocks of one page share a folder and, in Python, their names, from top to bottom. In a console block
the shown output must appear in the real one, line by line and in order; ``...`` stands for anything.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ionbeam.config import load

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "packages").glob("*/README.md"),
        ROOT / "benchmarks" / "README.md",
    ]
)
RUN = {"python", "bash", "console", "yaml"}
SHOWN = {"text", "json", "sql", "toml", "mermaid"}
TIMEOUT_S = 120

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*).*$")
_NOT_RUN = re.compile(r"^\s*<!--\s*not run:\s*(?P<reason>\S.*?)\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    start: int | None = None
    opening = None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if opening is None and fence:
            start, opening = number, fence
        elif opening is not None and start is not None and line.strip() == opening["fence"]:
            indent = len(opening["indent"])
            body = "\n".join(inner[indent:] for inner in lines[start + 1 : number])
            above = next((above for above in reversed(lines[:start]) if above.strip()), "")
            reason = _NOT_RUN.match(above)
            yield Block(page, start + 1, opening["language"], body, reason["reason"] if reason else "")
            opening = None
    assert opening is None, f"{page}:{(start or 0) + 1}: the block is never closed"


PAGES_AND_BLOCKS = {page: list(blocks_of(page, page.read_text(encoding="utf-8"))) for page in PAGES}
BLOCKS = [block for blocks in PAGES_AND_BLOCKS.values() for block in blocks]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_says_what_it_is(block: Block):
    assert block.language in RUN | SHOWN, f"{block.place}: give the block one of {sorted(RUN | SHOWN)}"


def test_every_remark_that_a_block_is_not_run_stands_above_one():
    remarks = sum(
        bool(_NOT_RUN.match(line)) for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()
    )
    assert remarks == sum(bool(block.not_run) for block in BLOCKS)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.not_run], ids=lambda block: block.place)
def test_blocks_that_cannot_run_here(block: Block):
    pytest.skip(f"{block.place}: {block.not_run}")


@pytest.mark.parametrize(
    "page",
    [
        page
        for page, blocks in PAGES_AND_BLOCKS.items()
        if any(b.language in RUN and not b.not_run for b in blocks)
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_does_what_it_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IONBEAM_CONFIG_PATH", raising=False)
    names: dict[str, Any] = {"__name__": "page"}
    for block in PAGES_AND_BLOCKS[page]:
        if block.not_run or block.language in SHOWN:
            continue
        if block.language == "python":
            padding = "\n" * block.line
            exec(compile(padding + block.text, str(page), "exec"), names)
        elif block.language == "yaml":
            check_configuration(block, tmp_path)
        else:
            check_commands(block, tmp_path)


def check_configuration(block: Block, folder: Path) -> None:
    """The block is a configuration in which every key is known; later commands find it as config.yaml."""
    path = folder / "config.yaml"
    path.write_text(block.text, encoding="utf-8")
    unknown = [warning for warning in load(path).warnings if "knows" in warning]
    assert not unknown, f"{block.place}: {unknown}"


def check_commands(block: Block, folder: Path) -> None:
    """The commands succeed and print what the block shows."""
    commands, shown = commands_of(block)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IONBEAM_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{block.place}: exit {done.returncode}\n{done.stdout}"
    printed = iter(done.stdout.splitlines())
    for line in shown:
        assert any(line.strip() in real for real in printed), (
            f"{block.place}: {line!r} is not printed, or not in this order:\n{done.stdout}"
        )


def commands_of(block: Block) -> tuple[str, list[str]]:
    """A block's commands and the output it shows; only console blocks show any."""
    if block.language == "bash":
        return block.text, []
    commands, shown = [], []
    continued = False
    for line in block.text.splitlines():
        if line.startswith("$ ") or continued:
            commands.append(line.removeprefix("$ "))
            continued = line.endswith("\\")
        elif line.strip() and line.strip() != "...":
            shown.append(line)
    return "\n".join(commands), shown


def test_a_block_is_found_with_its_language_its_line_and_its_remark():
    text = "# T\n\n```python\na = 1\n```\n\n<!-- not run: needs a network -->\n\n```bash\ncurl x\n```\n"
    assert [(b.language, b.line, b.text, b.not_run) for b in blocks_of(Path("p.md"), text)] == [
        ("python", 3, "a = 1", ""),
        ("bash", 9, "curl x", "needs a network"),
    ]


def test_a_fence_inside_a_longer_fence_is_text():
    (block,) = blocks_of(Path("p.md"), "````text\n```python\nx\n```\n````\n")
    assert (block.language, block.text) == ("text", "```python\nx\n```")


def test_a_console_block_is_commands_and_output():
    block = Block(ROOT / "p.md", 1, "console", "$ echo a \\\n    b\na b\n...\n$ true")
    assert commands_of(block) == ("echo a \\\n    b\ntrue", ["a b"])


def test_output_that_is_not_printed_is_noticed(tmp_path: Path):
    check_commands(Block(ROOT / "p.md", 1, "console", "$ printf 'a\\nb\\n'\na\nb"), tmp_path)
    with pytest.raises(AssertionError, match="in this order"):
        check_commands(Block(ROOT / "p.md", 1, "console", "$ printf 'a\\nb\\n'\nb\na"), tmp_path)


def test_a_command_that_fails_is_noticed(tmp_path: Path):
    with pytest.raises(AssertionError, match="exit 3"):
        check_commands(Block(ROOT / "p.md", 1, "bash", "(exit 3)\necho fine"), tmp_path)
