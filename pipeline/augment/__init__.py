"""augment: policies of transforms, staged copies, the balance index and the contact sheet."""

import sys

#: albumentations imports its transforms to tensors where it can, and torch with them, which takes seconds; a policy
#: can't use them, because its transforms give images
sys.modules["albumentations.pytorch"] = None  # type: ignore[assignment]
