"""Every figure: results in, matplotlib Figure out, in the style that is current.

`with matplotlib.style.context("ssmax_eval.report.styles.single"):` (or `double`, `slides`) around a call gives the
sizes and fonts of a paper's column or of slides. A figure of one quantity takes its name: `by_length(frame, "nll")`.
"""

from ssmax_eval.report.curves import by_length as by_length
from ssmax_eval.report.curves import by_position as by_position
from ssmax_eval.report.difference_map import difference_heatmap as difference_heatmap
from ssmax_eval.report.fading import fading as fading
from ssmax_eval.report.fading import fading_by_layer as fading_by_layer
from ssmax_eval.report.heads import by_head as by_head
from ssmax_eval.report.heads import by_outcome as by_outcome
from ssmax_eval.report.heatmaps import heatmap as heatmap
from ssmax_eval.report.maps import head_map as head_map
from ssmax_eval.report.maps import learned_s as learned_s
