"""One file, one derived field: an array computed from image and annotations, once in augment, and joined to samples.

pipeline/contracts/derived.py is the contract. `datasets.<name>.derived` gives the options. A job gets the field by a
loss option of the file's name, or because its architecture NEEDS it; then it depends on the image alone, and is
computed for each new image when predicting.
"""
