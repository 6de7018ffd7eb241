"""From numbers per case to what people read: summaries with intervals, tables, pictures, one page."""
