"""Parameters that are in no module (a learned temperature, a latent code), treated as a net."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class LoneParameters(nn.Module):
    """A net that never runs forward. tensors: name of the variable -> the tensor, of any shape.

    Raises ValueError for a tensor that was computed: it holds no gradient of its own.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if not tensor.is_leaf:
                raise ValueError(
                    f"{name} was computed ({tensor.grad_fn}), so that no .grad is kept for it; "
                    "expected a tensor that an optimizer can move, such as "
                    "torch.zeros(1, requires_grad=True)"
                )
            # As it is: `register_parameter` takes none but nn.Parameter, and optimizers take any.
            self._parameters[name] = tensor  # type: ignore[assignment]
