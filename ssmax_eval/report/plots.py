"""Every figure: results in, matplotlib Figure out, in the style that is current.

`with matplotlib.style.context("ssmax_eval.report.styles.single"):` (or `double`, `slides`) around a call
gives the sizes and fonts of a paper's column or of slides.
"""

from ssmax_eval.report.curves import loss_by_length as loss_by_length
from ssmax_eval.report.curves import loss_by_position as loss_by_position
from ssmax_eval.report.curves import needle_by_length as needle_by_length
from ssmax_eval.report.curves import retrieval_by_length as retrieval_by_length
from ssmax_eval.report.differences import difference_heatmap as difference_heatmap
from ssmax_eval.report.fading import attention_fading as attention_fading
from ssmax_eval.report.fading import attention_fading_by_layer as attention_fading_by_layer
from ssmax_eval.report.heads import needle_by_head as needle_by_head
from ssmax_eval.report.heads import needle_by_outcome as needle_by_outcome
from ssmax_eval.report.heatmaps import niah_heatmap as niah_heatmap
from ssmax_eval.report.maps import learned_s as learned_s
from ssmax_eval.report.maps import needle_map as needle_map
