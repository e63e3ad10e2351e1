"""All results flow in; what a person reads flows out: verdict.json, report.html, accuracy.csv, provenance.json. The doors are
the steps `judge` in `verdict.py`, and `report`, `accuracy` and `provenance`, each in the module of its name."""
