from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from art_plugins.errors import MissingPackageError
from art_plugins.reports import drawing
from art_plugins.reports.comparison import comparison_figures, curve_figures
from art_plugins.statistics.outliers import mad_index

SCORES = [30.0, 31.5, 60.25, None, 29.0, 32.0]
NAMES = ["yes", "no", "left", "_silence_", "$x_1$ \\ {", "off"]
DEFENCES = [
    {"title": "One", "tp": 3, "fn": 1, "fp": 10, "tn": 90},
    {"title": "Two", "tp": 0, "fn": 4, "fp": 0, "tn": 100},
    {"title": "Nothing to find", "tp": 0, "fn": 0, "fp": 1, "tn": 3},
]
POINTS = [
    {"fraction": fraction, "seed": seed, "ari": ari + 0.01 * seed, "found": fraction > 0.01 or seed == 2}
    for fraction, ari in ((0.3, 0.96), (0.01, -0.2), (0.1, 0.9))
    for seed in range(3)
]
HISTORY = [{"total": 90.0 / epoch, "divergence_sample": 1.0 * epoch, "divergence_steps": 0.0} for epoch in (1, 2, 3)]


def class_rows(scores=SCORES, threshold=3.5):
    index = mad_index(np.array([np.nan if score is None else score for score in scores]))
    return [
        {
            "name": name,
            "class_score": score,
            "mad_index": None if score is None else float(value),
            "verdict": "not judged: why" if score is None else "poisoned" if value > threshold else "clean",
        }
        for name, score, value in zip(NAMES, scores, index, strict=True)
    ]


def latents(n_clean=40, n_poison=10):
    random = np.random.default_rng(0)
    is_poison = np.arange(n_clean + n_poison) >= n_clean
    return random.normal(size=(n_clean + n_poison, 2)) + 5 * is_poison[:, None], is_poison


def texts(figure):
    """Everything written in a figure, one piece a line."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def all_figures():
    points, is_poison = latents()
    return [
        comparison_figures.class_score_figure(class_rows(), "left", 39.28),
        comparison_figures.cluster_figure(points, is_poison.astype(int), is_poison, "left"),
        comparison_figures.confusion_figure(DEFENCES),
        curve_figures.fraction_figure(POINTS),
        curve_figures.loss_figure(HISTORY),
    ]


@pytest.fixture(scope="module")
def drawn():
    """Every kind of figure, and its PNG."""
    return [(figure, drawing.png_bytes(figure)) for figure in all_figures()]


def test_png_bytes_decode_to_the_expected_size_on_white(drawn):
    for figure, png in drawn:
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))
        width, height = drawing.css_size(figure)
        np.testing.assert_allclose(pixels.shape[:2], (height * 2, width * 2), atol=2)
        assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
        assert (pixels < 128).any()


def test_every_letter_is_at_least_nine_points(drawn):
    for figure, _ in drawn:
        assert min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 9


def test_png_bytes_same_arguments_give_the_same_bytes(drawn):
    assert [png for _, png in drawn] == [drawing.png_bytes(figure) for figure in all_figures()]


def test_figures_user_settings_of_matplotlib_change_nothing_and_are_kept(drawn):
    with matplotlib.rc_context({"text.usetex": True, "savefig.bbox": "tight", "text.color": "white", "font.size": 4}):
        assert drawing.png_bytes(comparison_figures.confusion_figure(DEFENCES)) == drawn[2][1]
        assert matplotlib.rcParams["font.size"] == 4


def test_figures_do_not_import_pyplot():
    code = (
        "import sys; from art_plugins.reports import drawing as d;"
        "from art_plugins.reports.comparison import curve_figures as c;"
        "assert 'matplotlib' not in sys.modules;"
        "d.png_bytes(c.loss_figure([{'total': 1.0}])); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"matplotlib.*art-plugins\[report\]"):
        curve_figures.loss_figure(HISTORY)


def test_data_uri_of_known_bytes():
    assert drawing.data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="
    assert drawing.data_uri(b"RIFF", "audio/wav") == "data:audio/wav;base64,UklGRg=="


def test_class_score_figure_bars_are_the_scores_and_the_target_differs_without_colour():
    axes = comparison_figures.class_score_figure(class_rows(), "left", 39.28).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [30.0, 31.5, 60.25, 0, 29.0, 32.0]
    assert [bar.get_hatch() for bar in axes.patches] == [None, None, "///", None, None, None]
    assert len({to_hex(bar.get_facecolor()) for bar in axes.patches}) == 2


def test_class_score_figure_threshold_line_stands_at_the_limit_if_there_is_one():
    (line,) = comparison_figures.class_score_figure(class_rows(), "left", 39.28).axes[0].lines
    assert line.get_xdata()[0] == 39.28
    assert not comparison_figures.class_score_figure(class_rows(), "left", None).axes[0].lines


def test_class_score_figure_names_marks_and_scores_are_written():
    written = texts(comparison_figures.class_score_figure(class_rows(), "left", 39.28)).splitlines()
    for text in ("left (target)", "60.25, poisoned", "29.00", "not judged", "threshold: 39.28", "target class"):
        assert text in written


@pytest.mark.parametrize("scores", [[None] * 6, [7.0] * 6, [-3.0, -2.0, -1.0, 40.0, None, -2.5], [5.0] + [None] * 5])
def test_class_score_figure_odd_scores_are_drawn_and_described(scores):
    rows = class_rows(scores)
    assert drawing.png_bytes(comparison_figures.class_score_figure(rows, "left", 39.28))
    words = comparison_figures.class_score_words(rows, "left", 39.28)
    assert "None" not in words
    assert "nan" not in words


def test_class_score_words_name_the_highest_and_the_rank_of_the_target():
    words = comparison_figures.class_score_words(class_rows(), "off", 3.5)
    for text in ("Highest: left with 60.25", "lowest: $x_1$", "target class off: rank 2 of 5", "3.50: left.", "1 of 6"):
        assert text in words


def test_cluster_figure_panels_hold_each_point_once_and_the_title_the_index():
    points, is_poison = latents()
    clusters = is_poison.astype(int)
    clusters[:3] = 1
    figure = comparison_figures.cluster_figure(points, clusters, is_poison, "left")
    for axes, n_marked in zip(figure.axes, (13, 10), strict=True):
        rest, marked = (collection.get_offsets() for collection in axes.collections)
        assert len(marked) == n_marked
        np.testing.assert_allclose(np.sort(np.concatenate([rest, marked]), axis=0), np.sort(points, axis=0))
    # Hubert and Arabie 1985, Eq. 5: pairs that are together in the clusters, in the truth, in both, and by chance.
    sums = (37 * 36 / 2 + 13 * 12 / 2, 40 * 39 / 2 + 10 * 9 / 2)
    both = 37 * 36 / 2 + 3 * 2 / 2 + 10 * 9 / 2
    expected = sums[0] * sums[1] / (50 * 49 / 2)
    ari = (both - expected) / (sum(sums) / 2 - expected)
    assert f"'left': adjusted Rand index {ari:.3f}" in texts(figure)
    words = comparison_figures.cluster_words(points, clusters, is_poison, "left")
    for text in ("50 latents", "13 in the smaller", "10 poison", "holds 10 of the poison and 3 clean", f"{ari:.3f}"):
        assert text in words


def test_confusion_figure_cells_are_counts_and_shares_of_the_row():
    figure = comparison_figures.confusion_figure(DEFENCES)
    cells = [[text.get_text() for text in axes.texts] for axes in figure.axes if axes.get_visible()]
    assert cells[0] == ["3\n0.750", "1\n0.250", "10\n0.100", "90\n0.900"]
    assert cells[2] == ["0\n\u2014", "0\n\u2014", "1\n0.250", "3\n0.750"]
    assert "One: of the poison 3 removed and 1 kept, of the clean samples 10 removed and 90 kept" in (
        comparison_figures.confusion_words(DEFENCES)
    )


@pytest.mark.parametrize("n_defences", [1, 4, 5])
def test_confusion_figure_any_number_of_filters_has_a_panel_each(n_defences):
    figure = comparison_figures.confusion_figure(DEFENCES[:1] * n_defences)
    assert sum(axes.get_visible() for axes in figure.axes) == n_defences


def test_fraction_figure_line_is_the_mean_by_increasing_fraction_and_misses_are_marked():
    axes = curve_figures.fraction_figure(POINTS).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.01, 0.1, 0.3])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [-0.19, 0.91, 0.97])
    _, found, missed = axes.collections
    assert len(found.get_offsets()) == 7
    np.testing.assert_allclose(missed.get_offsets(), [[0.01, -0.2], [0.01, -0.19]])
    assert axes.get_ylim()[0] < -0.2
    words = curve_figures.fraction_words(POINTS)
    assert "-0.190 at 0.01, 0.910 at 0.1, 0.970 at 0.3" in words
    assert "not found at: 0.01 (seed 0), 0.01 (seed 1)." in words


def test_fraction_figure_one_seed_has_no_band():
    axes = curve_figures.fraction_figure([point for point in POINTS if point["seed"] == 2]).axes[0]
    assert len(axes.collections) == 1


def test_loss_figure_each_term_has_a_panel_with_its_values():
    figure = curve_figures.loss_figure(HISTORY)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["total", "divergence of the sample", "divergence of the steps"]
    np.testing.assert_allclose(panels["total"].lines[0].get_ydata(), [90, 45, 30])
    np.testing.assert_allclose(panels["total"].lines[0].get_xdata(), [1, 2, 3])
    assert "total from 90 to 30" in curve_figures.loss_words(HISTORY)


def test_name_hostile_text_is_one_short_line_without_mathematics():
    rows = [
        {**row, "name": name}
        for row, name in zip(class_rows(), ["$\\frac{$", "a\nb", "x" * 200, "", "$", "é"], strict=True)
    ]
    figure = comparison_figures.class_score_figure(rows, "a\nb", 3.5)
    assert drawing.png_bytes(figure)
    written = texts(figure).splitlines()
    assert "a b (target)" in written
    assert max(map(len, written)) < 60
