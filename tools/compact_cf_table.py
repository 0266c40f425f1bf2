"""Make the compact CF standard name table that the package ships.

    python tools/compact_cf_table.py standard_names.tsv src/ionbeam/observations/cf_standard_names.tsv.gz

The input has a version comment, a heading, then ``name, canonical_units, alias_of`` separated by
tabs. The output has the version on its first line, then the same fields sorted by name. The same
input always makes the same bytes: the gzip header carries no time and no file name.
"""

import gzip
import sys
from pathlib import Path


def compact(table: str) -> bytes:
    """The table as gzip bytes; an alias that is a current name as well is left out."""
    version, _heading, *lines = table.splitlines()
    rows = [line.split("\t") for line in lines if line]
    current = {name for name, _, alias_of in rows if not alias_of}
    kept = sorted(row for row in rows if not row[2] or row[0] not in current)
    text = "\n".join([version.removeprefix("#").strip(), *("\t".join(row).rstrip("\t") for row in kept), ""])
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


if __name__ == "__main__":
    source, target = (Path(argument) for argument in sys.argv[1:3])
    target.write_bytes(compact(source.read_text(encoding="utf-8")))
