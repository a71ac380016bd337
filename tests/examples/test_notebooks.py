"""The notebooks: that readers find them, and that ci/notebooks finds out what is stale in them.

They are run by ``ci/notebooks``.
"""

from __future__ import annotations

import importlib.util
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def outputs() -> Any:
    """Return the module ci/outputs.py."""
    spec = importlib.util.spec_from_file_location("outputs", ROOT / "ci/outputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(printed: str, tags: tuple[str, ...] = ()) -> Any:
    """Return a notebook as nbmake leaves it, with one code cell that printed something."""
    picture = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "png")
    cell = new_code_cell(
        "print(x)",
        execution_count=1,
        metadata={"execution": {"iopub.status.busy": "now"}, "tags": list(tags)},
        outputs=[
            new_output("stream", name="stderr", text="a warning"),
            new_output("stream", name="stdout", text=printed),
            new_output("display_data", {"image/png": b64encode(picture.getvalue()).decode()}),
        ],
    )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python", "version": "3.11.7"}}
    return new_notebook(cells=[new_markdown_cell("# Title"), cell], metadata=metadata)


def test_the_readme_lists_every_notebook() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(NOTEBOOKS) == 7
    assert [
        path.name for path in NOTEBOOKS if f"(examples/notebooks/{path.name})" not in readme
    ] == []


def test_what_is_kept_has_no_noise_and_small_pictures(outputs: Any) -> None:
    raw = ran("1\n")
    before = len(raw.cells[1].outputs[2].data["image/png"])
    kept = outputs.tidy(raw)
    assert list(kept.metadata) == ["kernelspec"]
    assert kept.cells[1].metadata == {"ran": outputs.digest(kept.cells[1])}
    assert [output.output_type for output in kept.cells[1].outputs] == ["stream", "display_data"]
    assert kept.cells[1].outputs[0].text == "1\n"
    assert len(kept.cells[1].outputs[1].data["image/png"]) < before


def test_a_notebook_that_was_just_run_is_as_it_was_run(outputs: Any) -> None:
    assert list(outputs.problems(ran("1\n"), outputs.tidy(ran("1\n")))) == []


def test_other_outputs_are_found_unless_they_may_vary(outputs: Any) -> None:
    (problem,) = outputs.problems(ran("2\n"), outputs.tidy(ran("1\n")))
    assert problem.startswith("code cell 1 shows")
    varies = ("varies",)
    assert list(outputs.problems(ran("2\n", varies), outputs.tidy(ran("1\n", varies)))) == []
    silent = outputs.tidy(ran("1\n", varies))
    silent.cells[1].outputs.pop()
    assert len(list(outputs.problems(ran("2\n", varies), silent))) == 1


def test_cells_that_were_edited_or_run_out_of_turn_are_found(outputs: Any) -> None:
    held = outputs.tidy(ran("1\n"))
    held.cells[1].source = "print(y)"
    run = ran("1\n")
    run.cells[1].source = "print(y)"
    assert list(outputs.problems(run, held)) == ["code cell 1 was edited after it was run"]
    held = outputs.tidy(ran("1\n"))
    held.cells[1].execution_count = 3
    assert list(outputs.problems(ran("1\n"), held)) == ["code cell 1 was not run in its turn"]


def test_paths_of_the_machine_are_found(outputs: Any) -> None:
    notebook = ran("/home/me/data.csv\n")
    (problem,) = outputs.problems(notebook, outputs.tidy(notebook))
    assert problem.endswith("/home/me/data.csv")
