"""tiles.csv and illumination.tif flow in; affines.csv flows out: the affine of each pair of neighbours, its covariance, and the
probability that it is right. The doors are the steps `pairs` (pairs/), `train` (training/), `register` (inference/) and
`selfcheck` (confidence/). `inference/consensus.py` asks placement what all pairs together say of each one."""
