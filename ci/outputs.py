"""Compare the outputs of notebooks that have just been run with those that they hold.

    python ci/outputs.py RUN HELD           # two folders; ci/notebooks calls it
    python ci/outputs.py RUN HELD --write   # keep the new outputs, without what is only noise

Of a cell with the tag ``varies``, which shows times and the like, only the kinds of outputs are
compared. Pictures are not compared either, but each cell remembers the source it was run with.
"""

from __future__ import annotations

import argparse
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

MOST_BYTES = 300_000
COLOURS = 128  # of a picture; more are not seen in plots


def digest(cell: Any) -> str:
    """Return by what the source of a cell is known again."""
    return sha256(cell.source.encode()).hexdigest()[:12]


def tidy(notebook: Any) -> Any:
    """Drop what differs between machines and runs, and make pictures smaller."""
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    for cell in code_cells(notebook):
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"ran": digest(cell), **({"tags": tags} if tags else {})}
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            output.pop("transient", None)
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
    return notebook


def smaller(png: str) -> str:
    """Return a picture with a palette of few colours."""
    picture, small = Image.open(BytesIO(b64decode(png))).convert("RGB"), BytesIO()
    picture.quantize(COLOURS).save(small, "png", optimize=True)
    return b64encode(small.getvalue()).decode()


def code_cells(notebook: Any) -> list[Any]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any) -> Iterator[tuple[str, ...]]:
    """Yield what is compared of the outputs of a cell: kinds, and texts unless they vary."""
    varies = "varies" in cell.metadata.get("tags", [])
    for output in cell.outputs:
        if output.output_type == "stream":
            if output.name == "stdout":
                yield "stdout", "" if varies else output.text
        else:
            text = output.data.get("text/plain", "")
            yield (*sorted(output.data), "" if varies else text)


def problems(run: Any, held: Any) -> Iterator[str]:
    """Yield in what a notebook that was just run differs from the one that is held."""
    cells = zip(code_cells(run), code_cells(held), strict=True)
    for number, (now, then) in enumerate(cells, start=1):
        if then.metadata.get("ran") != digest(now):
            yield f"code cell {number} was edited after it was run"
        elif then.execution_count != number:
            yield f"code cell {number} was not run in its turn"
        elif list(shown(now)) != list(shown(then)):
            yield f"code cell {number} shows {list(shown(now))}, but holds {list(shown(then))}"
    for path in set(re.findall(r"/(?:home|root|tmp|work|Users)/[\w./-]+", nbformat.writes(held))):
        yield f"it holds a path of the machine it was run on: {path}"


def main() -> None:
    """Write, or compare and fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the notebooks that were just run")
    parser.add_argument("held", type=Path, help="folder of the notebooks as they are kept")
    parser.add_argument("--write", action="store_true", help="keep the new outputs")
    arguments = parser.parse_args()
    n_problems = 0
    for path in sorted(arguments.held.glob("*.ipynb")):
        run = nbformat.read(arguments.run / path.name, 4)
        if arguments.write:
            nbformat.write(tidy(run), path)
        found = list(problems(run, nbformat.read(path, 4)))
        if path.stat().st_size > MOST_BYTES:
            found.append(f"it has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
        print(*(f"{path}: {problem}" for problem in found or ["as it was run"]), sep="\n")
        n_problems += len(found)
    if n_problems:
        raise SystemExit("Run ci/notebooks --write, look at what changed, and commit it.")


if __name__ == "__main__":
    main()
