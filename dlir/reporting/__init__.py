"""All results flow in; what a person reads flows out: report.html, accuracy.csv and provenance.json. The doors are the steps
`report`, `accuracy` and `provenance`, each in the module of its name."""
