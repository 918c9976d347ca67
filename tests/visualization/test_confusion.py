from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from segtron.errors import UserError
from segtron.evaluation.confusion import save_confusion_matrix
from segtron.visualization.confusion import plot_confusion, read_confusion_matrix


def test_what_the_evaluation_writes_is_read(tmp_path):
    names = ["road", 'a, "b"', "cost in $"]
    counts = np.array([[2**40, 0, 3], [0, 0, 0], [5, 6, 7]])
    save_confusion_matrix(tmp_path / "c.csv", counts, names)
    read_names, read_counts = read_confusion_matrix(tmp_path / "c.csv")
    assert read_names == names
    assert read_counts.tolist() == counts.tolist()


@pytest.mark.parametrize("num_classes", [1, 3, 26, 60])
def test_any_number_of_classes_can_be_drawn(tmp_path, num_classes):
    names = [f"${i}\\frac{{a_very_long_name" for i in range(num_classes)]
    counts = np.eye(num_classes, dtype=np.int64) * 100
    save_confusion_matrix(tmp_path / "c.csv", counts, names)
    plot_confusion(tmp_path / "c.csv", tmp_path / "out" / "c.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c.png"]
    with Image.open(tmp_path / "out" / "c.png") as picture:
        assert max(picture.size) < 4000
        # The colour of 100 percent is there.
        assert (8, 48, 107) in {color for _, color in picture.convert("RGB").getcolors(2**24)}


def test_rows_are_percent_and_absent_classes_grey(tmp_path, monkeypatch):
    figures = []

    def remember(figure):
        figures.append(figure)
        return FigureCanvasAgg(figure)

    monkeypatch.setattr("segtron.visualization.confusion.FigureCanvasAgg", remember)
    counts = np.array([[30, 10, 0], [0, 0, 0], [1, 0, 9999]])
    save_confusion_matrix(tmp_path / "c.csv", counts, ["road", "car", "sky"])
    plot_confusion(tmp_path / "c.csv", tmp_path / "c.png")
    axes = figures[0].axes[0]
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0.5, 0.5): "75.0", (1.5, 0.5): "25.0", (2.5, 2.5): "100"}
    (cells,) = axes.collections
    shares = cells.get_array().reshape(3, 3)
    assert shares.mask[1].all() and not shares.mask[[0, 2]].any()
    assert shares[0].tolist() == [75, 25, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["road", "car (absent)", "sky"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["road", "car", "sky"]
    # The first row is at the top.
    assert axes.yaxis_inverted()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        ",a,b\na,1,2\n",
        ",a,b\na,1,2\nc,3,4\n",
        ",a,b\na,1,2\nb,3\n",
        ",a,b\na,1,2\nb,3,x\n",
        ",a,b\na,1,2\nb,3,4.5\n",
        ",a,b\na,1,2\nb,3,-4\n",
        ",a\na,99999999999999999999\n",
        ",a,b\n\na,1,2\nb,3,4\n",
        ',a\n"a,1\n',
        "only text",
        "\x00\x01",
    ],
)
def test_what_is_no_confusion_matrix_is_refused(tmp_path, content):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(UserError, match=r"c\.csv is no confusion matrix.*score the model again"):
        plot_confusion(tmp_path / "c.csv", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent\.csv"):
        plot_confusion(tmp_path / "absent.csv", tmp_path / "c.png")
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"c\.csv is no confusion matrix"):
        plot_confusion(tmp_path / "c.csv", tmp_path / "c.png")
