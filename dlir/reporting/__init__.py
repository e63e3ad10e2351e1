"""All results flow in; what a person reads flows out: report.html, accuracy.csv and provenance.json. The steps have
these names.
"""
