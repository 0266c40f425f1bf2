"""The reference agrees with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
_TERM = re.compile(r"^\*\*(?P<words>[^*]+)\*\*", re.M)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]


def terms() -> list[str]:
    return [
        term.strip() for match in _TERM.finditer(GLOSSARY.read_text()) for term in match["words"].split(",")
    ]


def test_generated_pages_are_current():
    command = [sys.executable, str(ROOT / "tools" / "generate_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("term", terms())
def test_every_word_of_the_glossary_is_used_in_the_code(term: str):
    pattern = re.compile(r"(?<![A-Za-z])" + "[ _]?".join(map(re.escape, term.split())), re.I)
    assert any(pattern.search(file.read_text()) for file in (ROOT / "src").rglob("*.py")), (
        f"no module says {term!r}"
    )


def test_the_glossary_has_each_word_once_and_in_order():
    words = [match["words"].lower() for match in _TERM.finditer(GLOSSARY.read_text())]
    assert len(words) > 20
    assert words == sorted(set(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path):
    targets = [match["target"] for match in _LINK.finditer(page.read_text(encoding="utf-8"))]
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not broken
