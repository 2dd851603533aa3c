"""One file, one derived field: an array computed from image and annotations, once in augment, and joined to samples.

- `FIELD`, the field of Sample that it fills, and `SPLITS`, the splits that need it; both literals
- `TRANSFORMS`, optional: the only transforms that may be combined with it; `MANY`, optional, for slow fields: the
  number of images from which Ray is used
- `build(*, options)` returns a function from a stored sample to the array, which transforms move with the image

`datasets.<name>.derived` gives the options. A job gets the field by a loss option of the file's name, or because its
architecture NEEDS it; then it depends on the image alone, and is computed for each new image when predicting.
"""
