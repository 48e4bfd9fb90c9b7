"""Numbers between all that training had, as of another unit."""

from tidegate.kernel.drift.statistic import Rise

STRANGE = Rise(
    name="strange",
    cell=-5,
    numbers="values between those of training, as in another unit or encoding,",
    texts="",
    sentence="The share of numbers between those that training had, as after a change of unit. A season brings some.",
    threshold=0.1,
    unfixable=0.1,
    between=True,
)
