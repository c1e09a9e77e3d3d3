"""The study: what the method does on data of others, measured by programs that write their own pages."""
