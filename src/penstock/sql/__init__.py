"""`ai_query` for everybody: a live endpoint asked from SQL, in DuckDB and in Spark.

>>> import duckdb, penstock.sql
>>> connection = duckdb.connect()
>>> penstock.sql.register(connection)    # or a Spark session
>>> connection.sql("SELECT ai_query('my-endpoint', {'x': x, 'n': n}, returnType => 'DOUBLE') FROM rows")
"""

from penstock.sql.registering import ai_query, register

__all__ = ["ai_query", "register"]
