"""
How far a predictor may be from its source: every number that decides it, and why it is what it is.

Predictors compute in float32; what they are compared with computes in float64. Each sum of a layer is rounded by both
in another place, so equality bit by bit is out of reach even for SB3 itself (its batches differ from its single calls).
"""

SCORE_RELATIVE = 1e-4
"""Error of a score, divided by the observation's largest score (at least `SCORE_FLOOR`)."""

SCORE_FLOOR = 0.1
"""Scores smaller than this count as this large: with the line above, 1e-5 is the absolute tolerance."""

ACTION_RELATIVE = 1e-5
"""Error of a continuous action, divided by the range of the action space."""

TIE = 1e-6
"""Two scores closer than this, relative to the largest (at least 1), are equal up to rounding: either may be chosen."""

LARGEST_COMPARED = 1e37
"""An observation for which a value of the reference is finite and larger may overflow in float32; not compared."""

PERTURBATION = 2.0**-21
"""Relative change of weights and observations that shows how sensitive a result is; 4 times float32's precision."""

SENSITIVITY = 4.0
"""
A result may be wrong by this many times what a perturbation changes it. Where that exceeds the tolerances above, the
observation is ill-conditioned (a difference of huge numbers decides the sign of a unit), and no float32 arithmetic,
PyTorch's included, gives the float64 answer.
"""

LONG_SUM = 64
"""Products in a sum from which on `SENSITIVITY` grows, with the square root of their number: so does rounding."""

WIDEST_RANGE = 1e6
"""Bounds of a space beyond this say that there is none (CartPole's velocities are bounded by float32's largest)."""
