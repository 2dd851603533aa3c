"""How timm's published weights want their images, for the architectures that are built of timm's networks."""


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 of the training of a network's weights, by its tag or its default."""
    import timm

    published = timm.get_pretrained_cfg(name)
    return tuple(published.mean), tuple(published.std)
