"""Tiles and pairs flow in; model.pt flows out: the weights of the network. The step `train` (train.py) is the door. `pretrain`
makes the generic weights that come with the package.
"""
