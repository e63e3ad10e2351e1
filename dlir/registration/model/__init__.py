"""Two windows of a pair flow in; an `Estimate` flows out: affine, covariance and confidence. Each method of registration
is a module here, behind one interface (`estimate.Method`); methods.py is the door. This room knows no files but those
of a model.
"""
