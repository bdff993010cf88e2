"""The oldest torch that a record can be made with: the one that has all of ``torch_internals``."""

OLDEST = (2, 8)


def require_torch(version: str) -> None:
    """Raise ImportError, with what to do, for a torch that lacks what is used here."""
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ImportError(
            "gan_lessons looks into autograd, and needs torch {oldest} or newer for that; this is "
            "torch {version}. To upgrade: pip install --upgrade torch".format(
                oldest=".".join(map(str, OLDEST)), version=version
            )
        )
