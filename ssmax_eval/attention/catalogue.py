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
        "sparsemax": (f"{ROOM}.sparsemax:Sparsemax", "relu(z - tau) that sums to 1, arXiv 1602.02068"),
        "entmax15": (f"{ROOM}.entmax:Entmax15", "relu(z / 2 - tau)^2 that sums to 1, arXiv 1905.05702"),
        "alpha_entmax": (
            f"{ROOM}.entmax:AlphaEntmax",
            "relu((alpha - 1) z - tau)^(1 / (alpha - 1)) that sums to 1, arXiv 1905.05702",
        ),
        "asentmax": (
            f"{ROOM}.asentmax:ASEntmax",
            "entmax((delta + beta log(n + 1)^gamma) z), beta and gamma learned, arXiv 2506.16640",
        ),
        "topk": (f"{ROOM}.topk:TopK", "softmax(z) over the k largest, arXiv 2106.06899, 2112.12433"),
        "t_softmax": (f"{ROOM}.r_softmax:TSoftmax", "L1(relu(z - max z + t) e^z), arXiv 2304.05243"),
        "r_softmax": (
            f"{ROOM}.r_softmax:RSoftmax",
            "t_softmax that leaves a share r of the keys without weight, arXiv 2304.05243",
        ),
        "multimax": (
            f"{ROOM}.multimax:MultiMax",
            "softmax(z + t0 relu(b0 - z) + t1 relu(z - b1)), learned, arXiv 2406.01189",
        ),
        "multimax2": (f"{ROOM}.multimax:MultiMax2", "multimax with squares too, arXiv 2406.01189"),
        "rela": (f"{ROOM}.rela:ReLA", "relu(z), without its output norm, arXiv 2104.07012"),
        "softmax_n": (f"{ROOM}.softmax_n:SoftmaxN", "e^z / (n + sum e^z), off by one (Miller 2023) or by n"),
        "adaptive_temperature": (
            f"{ROOM}.adaptive_temperature:AdaptiveTemperature",
            "softmax(c z), c from the entropy of the row, arXiv 2410.01104",
        ),
        "sigmoid": (f"{ROOM}.sigmoid:Sigmoid", "sigmoid(z - log n), arXiv 2409.04431"),
        "stick_breaking": (
            f"{ROOM}.stick_breaking:StickBreaking",
            "sigmoid(z) of what the later keys left, arXiv 2410.17980",
        ),
        "scale_invariant": (
            f"{ROOM}.scale_invariant:ScaleInvariant",
            "softmax(a z + 1 - a^2), a^2 = 2 log(distance / tau + 1) + 1, arXiv 2505.17083",
        ),
        "llama4": (f"{ROOM}.released:Llama4", "temperature, by its model's name"),
        "ministral": (
            f"{ROOM}.released:Ministral",
            "softmax((1 + beta log(1 + floor((n - 1) / n_train))) z), as in Ministral 3",
        ),
        "inkling": (f"{ROOM}.released:Inkling", "softmax((1 + alpha log(max(n / f, 1))) z), as in Inkling"),
        "grok": (f"{ROOM}.released:Grok", "softmax(log(n - 1) / log(n_train) z) beyond n_train, as in Grok"),
        "hype": (f"{ROOM}.released:Hype", "softmax(log(n - 1 + a) / log(a) z), as in HypeNet and MiniCPM-SALA"),
    }
)
"""name -> class. Adding an attention is adding a line: its name, its module and class, what it is in one line."""
