"""Samplers side by side on one network: how near each comes to that network's own flow, and what to use.

`image_exps.compare.measure.compare` measures, `image_exps.compare.advice.advise` chooses, and
`image_exps.compare.strength.tune` finds the strength of LML. The network is one of `image_exps.network`.
"""
