"""What all wings use: the convention of affines, the schemas of the tables, the base class of the settings, writing results
whole, hashes, robust statistics, the graph of the tiles, and progress in the log. No image passes through here. This wing
imports no other wing."""
