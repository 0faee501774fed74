"""Claims H: the diffusion Hessian, its outer-product approximation and the bound on the error (Props. 1 and 2)."""
