"""The notebook runs as it is, and shows reprs, figures and bars."""

import base64
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def outputs(notebook):
    """Return what the cells show: for each output its representations by type.

    What a cell prints is one output for each of its streams: how many pieces they come in, and in
    which order, is chance.
    """
    for cell in notebook.cells:
        printed = {}
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                printed[output.name] = printed.get(output.name, "") + output.text
            else:
                yield output.get("data", {})
        yield from ({"text/plain": text} for text in printed.values())


@pytest.mark.matplotlib
@pytest.mark.parametrize("widgets", [True, False], ids=["widgets", "text"])
def test_the_notebook_shows_reprs_figures_and_bars(widgets, tmp_path):
    if widgets:
        pytest.importorskip("ipywidgets")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if not widgets:
        hide = nbformat.v4.new_code_cell("import sys\nsys.modules['ipywidgets'] = None")
        notebook.cells.insert(0, hide)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = list(outputs(notebook))
    words = [data["text/plain"] for data in shown if data.get("text/plain")]
    assert words[0] == "GlorotUniform(seed=7)"
    assert words[1] == "(TruncatedNormal(seed=7, stddev=0.02), Constant(<1,000 float64>))"
    pictures = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    assert [picture[:8] for picture in pictures] == [b"\x89PNG\r\n\x1a\n"] * 2
    bars = [data for data in shown if "application/vnd.jupyter.widget-view+json" in data]
    assert len(bars) == (2 if widgets else 0)
    if widgets:
        states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
        last = [w["state"]["value"] for w in states.values() if "max" in w["state"]]
        assert last == [102_400_000.0] * 2  # bytes: both bars came to their end
    else:
        assert sum("100%" in text and "102MB of 102MB" in text for text in words) == 2
    assert (
        sum("400,000 × 64 float32 GlorotUniform seed 7: 102 MB in" in text for text in words) == 1
    )
    assert any("checked=25600000, wrong=0" in text for text in words)
