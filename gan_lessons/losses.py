"""Binary cross-entropy in nats, as a mean over the batch: the loss of both players.

D minimises (bce(D(real), 1) + bce(D(fake), 0)) / 2. G minimises bce(D(fake), 1) = -log D(fake),
the non-saturating loss of arXiv 1406.2661. `Gan` uses `nn.BCELoss` unless told otherwise.
"""

import torch.nn.functional as F
from torch import Tensor


def bce_with_logits(logits: Tensor, target: Tensor) -> Tensor:
    """-(t log p + (1-t) log(1-p)), p = sigmoid(l), stable as t softplus(-l) + (1-t) softplus(l)."""
    return F.binary_cross_entropy_with_logits(logits, target)
