"""What each figure of the page shows."""

FIRST = "overview"
"""The figure that stands above the claims."""
CAPTIONS = {
    "overview": "RoPE base × 50. Above: share of needles found by context length and depth, on one scale. Below: loss "
    "by position of long texts. All seeds are pooled; the band is the 95 % interval over seeds, none below five.",
    "overview-plain-rope": "The same with plain RoPE, as the checkpoints were trained.",
    "loss-by-length": "Mean loss over the first tokens of long texts, every variant; the band is the 95 % interval "
    "over seeds, and variants with fewer than five have none.",
    "retrieval-by-length": "Share of needles found, all depths pooled, every variant; the band is the 95 % "
    "interval over seeds, or over trials where there is one seed; fewer than five have none.",
    "needle-by-head": "Weight that each head puts on the needle's digits where the answer begins, best head first, at "
    "8 × the training length and RoPE base × 50. Heads are ranked within each seed. After Fig. 7 of the SSMax paper.",
    "needle-by-outcome": "Weight of the best head on the needle's digits in each trial, and whether the answer was "
    "right; RoPE base × 50. Asked at depths of 10, 30, 50, 70 and 90 % only. After Fig. 8 of the SSMax paper.",
    "learned-factors": "The factor s log n + b that SSMax learned for every head, against the number of keys n. "
    "Dashed: log n / mean(log n), which a softmax model gets when it is rewritten. Dotted: 1, which is softmax.",
    "free-factors": "The factor on the scores that was learned for every number of keys n by itself, and the line "
    "a₁ log n + a₂ that comes nearest to it, after training on text alone. SSMax was found from this experiment.",
    "training": "Trainings by step, each averaged over ten logged steps: mean over the seeds, and a band from the "
    "lowest seed to the highest. Middle: answer tokens in the training mix, which is harder than the needle test. "
    "Right: SSMax minus softmax on the same batches.",
}
"""By file name, in the order of the page."""
