"""Cloud Logging: what becomes of the lines that services print, and how entries are filtered, counted and routed."""
