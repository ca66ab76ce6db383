"""Spark, the extra `spark`: a local session that is set up as models need it, and batch runs on it.

>>> import penstock.spark
>>> spark = penstock.spark.session()
"""

from penstock.spark.sessions import session

__all__ = ["session"]
