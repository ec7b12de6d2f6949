package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.util.List;

/**
 * Reads tables that Graft has no reader of its own for. An engine is a module apart, found by
 * {@link java.util.ServiceLoader}, so that who needs none carries none.
 */
public interface TableEngine {
  /** Takes a table, row by row. */
  interface Rows {
    /** The names of the columns; called once, before the rows. */
    void columns(List<String> names);

    /** Values as text, a null where there is none. The list is used again for the next row. */
    void row(List<String> values);
  }

  /**
   * Hands on every row of a Parquet file or a query, in the order they come, few at a time: the
   * table may be larger than memory.
   *
   * @throws InvalidInputException in one line if the source cannot be read, or its SQL is anything
   *     but one SELECT
   */
  void read(LabelledSource source, Rows rows);
}
