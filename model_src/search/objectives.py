"""What a child must achieve to be accepted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Objectives:
    """The input network's values and the limits that children are held against.

    Attributes:
        score: The input's predicted score, in the predictor's units.
        mflops: The input's FLOPs in millions.
        min_decrease: Lower bound of the FLOPs decrease in percent; negative allows growth.
        max_decrease: Upper bound of the FLOPs decrease in percent.
    """

    score: float
    mflops: float
    min_decrease: float
    max_decrease: float

    def flops_decrease(self, mflops: float) -> float:
        """By how many percent of the input's FLOPs a network is cheaper."""
        return 100 * (self.mflops - mflops) / self.mflops

    def score_gain(self, score: float) -> float:
        """By how many percent of the input's absolute score a network is better."""
        return 100 * (score - self.score) / abs(self.score) if self.score else 100 * (score - self.score)

    def within_flops(self, mflops: float) -> bool:
        """Whether the FLOPs lie strictly inside the window."""
        return self.min_decrease < self.flops_decrease(mflops) < self.max_decrease

    def accepts(self, score: float, mflops: float) -> bool:
        """Whether a network is strictly better than the input and inside the FLOPs window."""
        return score > self.score and self.within_flops(mflops)
