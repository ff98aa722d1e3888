"""The stage `compare`: tables, a page of charts and contact sheets, and rows for MLflow."""
