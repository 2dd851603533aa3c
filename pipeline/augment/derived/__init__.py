"""One file, one derived field: what images and annotations decide, computed once by augment and joined to samples.

- `FIELD`, the field of Sample that it fills, and `SPLITS`, those that it is wanted for; both literals
- `TRANSFORMS`, where the file has it: the only ones that it can follow; `MANY`, where it is slow: images from which
  it pays to start Ray for them
- `build(*, options)` gives a function of a sample as stored, whose array every such transform moves with the image

`datasets.<name>.derived` says with which options. A job gets the field by a loss option of the file's name, or because
its architecture NEEDS it; then it is of the image alone, and computed where a model is asked about a new one.
"""
