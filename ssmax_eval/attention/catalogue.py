"""The attentions that a checkpoint can be rewritten to, by name: one line each. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssmax_eval.catalogue import Catalogue

if TYPE_CHECKING:
    from ssmax_eval.attention.base import Attention

ROOM = "ssmax_eval.attention"

ATTENTIONS: Catalogue[Attention] = Catalogue(
    {
        "softmax": (f"{ROOM}.softmax:Softmax", "softmax(z), the baseline"),
        "ssmax": (f"{ROOM}.ssmax:SSMax", "softmax((s log n + b) z), arXiv 2501.19399; s, b: number or file"),
        "lssa": (f"{ROOM}.lssa:LSSA", "L1(softplus(log d log n cos(q, k))), arXiv 2501.13428"),
        "lssar": (f"{ROOM}.lssa:LSSAR", "L1(relu(n a - 1)^p) with a = lssa, arXiv 2501.13428"),
        "softmax_reweighted": (
            f"{ROOM}.lssa:SoftmaxReweighted",
            "L1(relu(n a - 1)^p) with a = softmax, the ablation of arXiv 2501.13428",
        ),
        "logn": (f"{ROOM}.logn:LogN", "softmax(max(1, log n / log n_train) z), Su; Chiang & Cholak 2022"),
        "temperature": (
            f"{ROOM}.logn:Temperature",
            "softmax((1 + beta log(floor(n / f) + 1)) z), as Llama 4 does at inference",
        ),
        "per_n": (
            f"{ROOM}.per_n:PerN",
            "softmax(p[n] z), p learned for every n, the experiment behind arXiv 2501.19399",
        ),
    }
)
"""name -> class. Adding an attention is adding a line: its name, its module and class, what it is in one line."""
