"""Binary cross-entropy, the loss of both players, in nats, as a mean over the batch.

D minimises (bce(D(real), 1) + bce(D(fake), 0)) / 2. G minimises bce(D(fake), 1), which is
-log D(fake): the non-saturating loss of arXiv 1406.2661, not log(1 - D(fake)).
"""

import torch.nn.functional as F
from torch import Tensor


def bce(probability: Tensor, target: Tensor) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)); as `nn.BCELoss`, a log below -100 counts as -100."""
    return F.binary_cross_entropy(probability, target)


def bce_with_logits(logits: Tensor, target: Tensor) -> Tensor:
    """The same of p = sigmoid(l), never infinite: t softplus(-l) + (1 - t) softplus(l)."""
    return F.binary_cross_entropy_with_logits(logits, target)
