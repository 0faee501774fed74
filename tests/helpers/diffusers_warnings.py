"""Warnings of other libraries about each other, which our tests turn into errors elsewhere."""

#: The schedulers of diffusers hand tensors to NumPy 2 in ways that PyTorch does not announce.
NUMPY_2 = [
    r"ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers\.schedulers",
    r"ignore:__array_wrap__ must accept context and return_scalar:DeprecationWarning:diffusers\.schedulers",
]
