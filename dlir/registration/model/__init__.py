"""Two windows of a pair flow in; an `Estimate` flows out: affine, covariance and confidence. Each method of registration is one
module here, behind one interface (`estimate.Method`); `methods.load_method` is the door. The only files that this wing reads
and writes are those of models.
"""
