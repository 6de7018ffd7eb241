"""Networks: plain constructor arguments, tensors in, tensors out."""
