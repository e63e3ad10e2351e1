"""What a folder of tiles is understood to be: the settings that `dlir init` proposes, and the picture of `dlir preview`."""
