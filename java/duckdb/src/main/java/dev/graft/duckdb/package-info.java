/** Labelled sets out of Parquet files and SQL, by DuckDB's embedded engine. */
package dev.graft.duckdb;
