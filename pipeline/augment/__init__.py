"""augment: policies of transforms, staged copies, the balance index and the contact sheet."""
