"""A verdict on anybody's sampler: is it right, good, robust, well-behaved, cheap, the same as another?"""
