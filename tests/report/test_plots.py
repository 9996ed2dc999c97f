"""Every figure is drawn in every situation that a report meets, without a warning."""

from collections.abc import Callable

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import axes, plots, views
from ssmax_eval.report.heads import OUTCOMES
from ssmax_eval.report.quantities import find
from ssmax_eval.report.series import labelled
from tests.report import examples

LONG = "some-organisation/a-checkpoint-with-a-very-long-name-that-nobody-would-shorten-v2.1-instruct"


def scores(frame: pd.DataFrame) -> Figure:
    return plots.by_length(frame, "score")


def losses(frame: pd.DataFrame) -> Figure:
    return plots.by_length(frame, "nll")


def needle_scores(frame: pd.DataFrame) -> Figure:
    return plots.by_length(frame, "needle_score")


FIGURES = [
    plots.heatmap,
    plots.by_outcome,
    plots.head_map,
    plots.fading_by_layer,
    scores,
    plots.by_position,
    losses,
    needle_scores,
    plots.by_head,
    plots.fading,
]
SITUATIONS: dict[str, Callable[[], pd.DataFrame]] = {
    "one length, one depth, one trial": lambda: pd.concat(
        [
            examples.niah(lengths=(512,), depths=(0.5,), trials=1),
            examples.loss(length=40, documents=1),
            examples.key_attention(lengths=(64,), depths=(0.5,), trials=1, layers=1, heads=1),
        ]
    ),
    "nine long names": lambda: pd.concat(
        [
            part
            for k in range(9)
            for part in (
                examples.niah(f"ssmax:s={k}", lengths=(512, 16384), trials=1, checkpoint=LONG + str(k % 2)),
                examples.loss(f"ssmax:s={k}", length=200, checkpoint=LONG + str(k % 2)),
                examples.key_attention(f"ssmax:s={k}", lengths=(64,), layers=2, checkpoint=LONG + str(k % 2)),
            )
        ]
    ),
}


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return {name: labelled(make()) for name, make in SITUATIONS.items()}


@pytest.mark.parametrize(
    ("draw", "situation"),
    [
        *((draw, "one length, one depth, one trial") for draw in FIGURES),
        *((draw, "nine long names") for draw in (plots.heatmap, plots.by_position, plots.by_outcome)),
    ],
)
def test_figures_draw_and_nothing_sticks_out(
    draw: Callable[[pd.DataFrame], Figure], situation: str, frames: dict[str, pd.DataFrame]
) -> None:
    with matplotlib.style.context("ssmax_eval.report.styles.single"):
        figure = draw(frames[situation])
        figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    assert width == pytest.approx(3.35)
    tight = figure.get_tightbbox()
    assert tight.x0 >= -0.02
    assert tight.y0 >= -0.02
    assert tight.x1 <= width + 0.02
    assert tight.y1 <= height + 0.02


def xs(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata())]


def ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def panel(figure: Figure, number: int = 0) -> Axes:
    return figure.axes[number]


def test_heatmap_puts_depth_0_on_top_on_one_scale_from_0_to_1() -> None:
    figure = plots.heatmap(examples.everything())
    for ax in figure.axes[:2]:
        bottom, top = ax.get_ylim()
        assert bottom > top
        assert ax.collections[0].get_clim() == (0, 1)
    assert panel(figure).get_yticklabels()[0].get_text() == "0"


def test_heatmap_tells_missing_from_failed_and_from_zero() -> None:
    figure = plots.heatmap(examples.everything())
    hatched = [patch for patch in panel(figure).patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert [(patch.get_x(), patch.get_y()) for patch in hatched] == [(3.5, 1.5)]
    corners = [patch for patch in panel(figure).patches if isinstance(patch, Polygon)]
    assert len(corners) == 1
    written = [text.get_text() for text in panel(figure).texts]
    assert len(written) == 24
    assert "0.00" in written
    assert len(panel(figure, 1).texts) == 24
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["training length (2K)", "not run", "all trials failed", "some trials failed"]


def test_heatmap_marks_the_training_length_between_columns() -> None:
    ax = panel(plots.heatmap(examples.niah()))
    assert {tuple(xs(line)) for line in ax.lines} == {(2.5, 2.5)}
    assert not panel(plots.heatmap(examples.niah(lengths=(512, 2048)))).lines


def test_heatmap_options() -> None:
    rows = examples.niah(lengths=(512, 4096), trials=5)
    figure = plots.heatmap(rows, palette="red-yellow-green", intervals=True)
    assert panel(figure).collections[0].get_cmap().name == "red-yellow-green"
    assert "0.57–1.00" in [text.get_text() for text in panel(figure).texts]
    with_line = plots.heatmap(rows, mean_line=True)
    assert ys(panel(with_line, 1).lines[-1])[0] == 1.0
    assert not panel(with_line).texts
    assert not panel(plots.heatmap(rows, values=False)).texts


def test_curves_mark_the_training_length_and_name_units() -> None:
    ax = panel(plots.by_position(examples.loss(), scale="linear"))
    assert "nats" in ax.get_ylabel()
    assert "tokens" in ax.get_xlabel()
    assert [2048, 2048] in [xs(line) for line in ax.lines]
    assert ax.get_xscale() == "linear"


def test_heads_are_sorted_and_cut_at_the_common_length() -> None:
    frame = pd.concat([examples.key_attention(), examples.key_attention("lssa", lengths=(512,))])
    ax = panel(plots.by_head(frame, top=5))
    assert "(5 of 24; context 512 tokens)" in ax.get_xlabel()
    heights = ys(ax.lines[0])
    assert len(heights) == 5
    assert heights == sorted(heights, reverse=True)


def test_a_figure_without_its_task_is_refused() -> None:
    with pytest.raises(
        UserError, match="unknown quantity 'nll'; the tasks niah measure leading_digits, logprob, score"
    ):
        plots.by_length(examples.niah(), "nll")
    with pytest.raises(NothingMeasured, match="none of the tasks niah measures anything that is drawn as 'by_head'"):
        plots.by_head(examples.niah())


def test_panels_say_the_training_length_where_it_differs() -> None:
    frame = pd.concat([examples.niah(), examples.niah(checkpoint="b", train_length=1024)])
    figure = plots.heatmap(frame)
    assert "trained at 1K" in panel(figure, 1).get_title(loc="left").replace("\n", " ")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training length"]


def test_outcomes_are_told_by_marker_as_well_as_colour() -> None:
    figure = plots.by_outcome(examples.everything())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(OUTCOMES)
    drawn = [len(np.asarray(points.get_offsets())) for points in panel(figure).collections]
    assert drawn == [6, 6, 6]


def test_maps_have_layers_down_and_ring_the_best_head() -> None:
    ax = panel(plots.head_map(examples.key_attention()))
    assert (xs(ax.lines[0])[0], ys(ax.lines[0])[0]) == (1, 5)
    bottom, top = ax.get_ylim()
    assert bottom > top
    with pytest.raises(UserError, match="no needle score at context length 7"):
        plots.head_map(examples.key_attention(lengths=(64,)), context_length=7)


def test_learned_s_takes_layers_by_heads_and_leaves_gaps_grey() -> None:
    values = np.array([[0.1, 0.2], [np.nan, np.nan], [0.3, 0.4]])
    shown = panel(plots.learned_s(values)).collections[0].get_array()
    assert isinstance(shown, np.ma.MaskedArray)
    assert shown.shape == (3, 2)
    assert shown.mask.sum() == 2
    with pytest.raises(UserError, match=r"\[layers, heads\]; this has the shape \[3\]"):
        plots.learned_s([1, 2, 3])


def test_an_unknown_property_of_attention_is_refused() -> None:
    with pytest.raises(UserError, match="unknown quantity 'entropie'; the tasks key_attention measure effective_keys"):
        plots.fading_by_layer(examples.key_attention(lengths=(64,)), "entropie")


def test_panels_with_one_scale_cut_nothing_off() -> None:
    frame = pd.concat([examples.key_attention(fade=0.9), examples.key_attention("ssmax:s=1", fade=0.1)])
    for draw in (plots.fading, lambda rows: plots.fading_by_layer(rows, "max_weight")):
        for ax in draw(frame).axes:
            curves = [max(ys(line)) for line in ax.lines if len(ys(line)) > 2]
            assert not curves or max(curves) <= ax.get_ylim()[1]


def test_an_outcome_can_ask_for_more_than_one_digit() -> None:
    frame = examples.key_attention(lengths=(512,), trials=2)  # of six trials two are right, two have 0.4 of the digits

    def partly(figure: Figure) -> int:
        return len(np.asarray(figure.axes[0].collections[1].get_offsets()))

    assert partly(plots.by_outcome(frame)) == 2
    asked = plots.by_outcome(frame, part=0.5, partly="half of the digits right")
    assert partly(asked) == 0
    assert "half of the digits right" in [text.get_text() for text in asked.legends[0].get_texts()]


def units(figure: Figure) -> list[float]:
    """The values of the small dots, one for each unit."""
    return sorted(y for ax in figure.axes for line in ax.lines if line.get_gid() == axes.UNITS for y in ys(line))


@pytest.mark.parametrize("draw", [plots.by_length, plots.by_position])
def test_too_few_documents_for_a_band_are_drawn_one_by_one(draw: Callable[..., Figure]) -> None:
    few = examples.loss(length=300, documents=3)
    figure = draw(few, "nll")
    assert not any(band.get_paths() for band in panel(figure).collections)
    assert "Small dots: single documents, where fewer than 5" in axes.says_units(figure, "documents", 5)
    if draw is plots.by_length:
        documents = few[few["position"] < 128].groupby("document")["nll"].mean()
        assert set(np.round(documents, 9)) <= set(np.round(units(figure), 9))
    enough = draw(examples.loss(length=300, documents=5), "nll")
    assert units(enough) == []
    assert axes.says_units(enough, "documents", 5) == ""


def test_the_trials_of_a_needle_test_are_drawn_with_all_their_depths() -> None:
    frame = examples.niah(lengths=(512, 4096), trials=3)
    wanted = frame.groupby(["context_length", "trial"])["score"].mean().tolist()
    assert units(plots.by_length(frame, "score")) == pytest.approx(sorted(wanted))


def test_captions_say_how_the_best_head_is_chosen_and_what_was_asked() -> None:
    frame = labelled(examples.key_attention(lengths=(64,), layers=1, heads=2))
    (picture,) = views.by_outcome(frame, find(frame, "needle_score")).pictures
    assert "The best head of a trial is that of the other trials" in picture.caption
    assert "Asked at depths of 0, 50 and 100 % only." in picture.caption
    assert "best head of a trial" in views.by_length(frame, find(frame, "needle_score")).pictures[0].caption
    assert "best" not in views.by_length(labelled(examples.niah()), find(labelled(examples.niah()))).pictures[0].caption
