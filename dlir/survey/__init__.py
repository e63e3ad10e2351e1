"""files.csv flows in; tiles.csv and survey.csv flow out: where the tiles lie nominally, after what the settings say was checked
against the pixels of small pictures of the tiles. The step `survey` (survey.py) is the door."""
