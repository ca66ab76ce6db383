"""The catalog: Delta tables by their names, SQL over them, what was logged of predictions as typed rows.

Programs begin at `penstock.catalog.local.open_home`.
"""
