"""Files that others made, read so that damaged or hostile bytes can do no more than raise an error."""
